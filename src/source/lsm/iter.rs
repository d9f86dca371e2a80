//! Owns the merge of the logs' entries and all runs into one ascending stream of live
//! pairs. Hands these to whoever scans ranges or the whole database.

use std::cmp::Ordering;
use std::sync::Arc;

use super::database::Inner;
use super::error::LsmError;
use super::key::PUT;
use super::run::Run;

/// User key and value, lent by an [`Iter`].
pub type Pair<'a> = (&'a [u8], &'a [u8]);

/// Ascending walk over live pairs of a range. Reads ahead on its own and leaves the block
/// cache alone.
#[derive(Debug)]
pub struct Iter {
    sources: Vec<Source>,
    /// Sources which have a current entry, in order of these entries.
    order: Vec<usize>,
    end: Option<Vec<u8>>,
    /// User key handed out or hidden last: its older entries are skipped.
    last: Vec<u8>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// `last` is a start to seek to.
    Seek,
    /// The first source is at the entry of `last`.
    At,
    Done,
}

#[derive(Debug)]
enum Source {
    Memory(Arc<Inner>, usize),
    Run(Box<Run>),
}

impl Source {
    #[inline]
    fn user(&self) -> Option<&[u8]> {
        match self {
            Source::Memory(inner, at) => inner.memory.user(*at),
            Source::Run(run) => run.spot().is_valid().then(|| run.spot().user()),
        }
    }

    #[inline]
    fn tag(&self) -> u64 {
        match self {
            Source::Memory(inner, at) => inner.memory.tag(*at),
            Source::Run(run) => run.tag(),
        }
    }

    /// Whether the current entry is a value; if not, it is a removal.
    #[inline]
    fn is_put(&self) -> Result<bool, LsmError> {
        let tag = match self {
            Source::Memory(inner, at) => inner.memory.tag(*at),
            Source::Run(run) => run.judge()?,
        };
        Ok(tag & 0xff == u64::from(PUT))
    }

    fn value(&self) -> &[u8] {
        match self {
            Source::Memory(inner, at) => inner.memory.value(*at),
            Source::Run(run) => run.value(),
        }
    }

    #[inline]
    fn step(&mut self) -> Result<(), LsmError> {
        match self {
            Source::Memory(_, at) => *at += 1,
            Source::Run(run) => run.step()?,
        }
        Ok(())
    }

    fn seek(&mut self, user: &[u8]) -> Result<(), LsmError> {
        match self {
            Source::Memory(inner, at) => *at = inner.memory.seek(user),
            Source::Run(run) => run.seek(user)?,
        }
        Ok(())
    }
}

impl Iter {
    pub(crate) fn new(inner: Arc<Inner>, start: &[u8], end: Option<&[u8]>) -> Iter {
        let mut sources = Vec::new();
        if inner.memory.len() != 0 {
            sources.push(Source::Memory(Arc::clone(&inner), 0));
        }
        for run in 0..inner.runs.len() {
            sources.push(Source::Run(Box::new(Run::new(Arc::clone(&inner), run))));
        }
        Iter { sources, order: Vec::new(), end: end.map(<[u8]>::to_vec), last: start.to_vec(), state: State::Seek }
    }

    /// Makes `key` the place where [`Iter::next`] goes on, forwards or backwards; the end
    /// of the range stays. Nothing is read before that.
    pub fn seek(&mut self, key: &[u8]) {
        self.last.clear();
        self.last.extend_from_slice(key);
        self.state = State::Seek;
    }

    /// The next live pair (user key, value), or `None` at the end of the range.
    /// Both are valid until the next call.
    ///
    /// # Errors
    /// Reading fails, or a block is damaged. The iterator is at its end afterwards,
    /// until sought anew.
    #[allow(clippy::should_implement_trait, reason = "lends from itself, which Iterator cannot")]
    #[inline]
    pub fn next(&mut self) -> Result<Option<Pair<'_>>, LsmError> {
        let found = self.advance();
        if !matches!(found, Ok(true)) {
            self.state = State::Done;
            found?;
            return Ok(None);
        }
        let source = self.order.first().and_then(|&at| self.sources.get(at));
        Ok(source.and_then(|source| Some((source.user()?, source.value()))))
    }

    fn advance(&mut self) -> Result<bool, LsmError> {
        let mut skip = match self.state {
            State::Done => return Ok(false),
            State::At => true,
            State::Seek => {
                self.start()?;
                false
            }
        };
        self.state = State::At;
        loop {
            if skip {
                self.step()?;
            }
            let Some(source) = self.order.first().and_then(|&at| self.sources.get(at)) else {
                return Ok(false);
            };
            let Some(user) = source.user() else {
                return Ok(false);
            };
            if skip && user == self.last.as_slice() {
                continue;
            }
            if self.end.as_deref().is_some_and(|end| user >= end) {
                return Ok(false);
            }
            self.last.clear();
            self.last.extend_from_slice(user);
            if source.is_put()? {
                return Ok(true);
            }
            skip = true;
        }
    }

    fn start(&mut self) -> Result<(), LsmError> {
        self.order.clear();
        let Iter { sources, order, last, .. } = self;
        for (at, source) in sources.iter_mut().enumerate() {
            source.seek(last)?;
            if source.user().is_some() {
                order.push(at);
            }
        }
        order.sort_by(|&a, &b| compare(sources, a, b));
        Ok(())
    }

    /// Steps the first source and puts it where it belongs then.
    #[inline]
    fn step(&mut self) -> Result<(), LsmError> {
        let Iter { sources, order, .. } = self;
        let Some(&first) = order.first() else {
            return Ok(());
        };
        let Some(source) = sources.get_mut(first) else {
            return Ok(());
        };
        source.step()?;
        if source.user().is_none() {
            order.remove(0);
            return Ok(());
        }
        for next in 1..order.len() {
            match order.get(next) {
                Some(&other) if compare(sources, first, other).is_gt() => order.swap(next - 1, next),
                _ => break,
            }
        }
        Ok(())
    }
}

/// Order of two sources' entries: user key, newest first, then precedence of the source.
#[inline]
fn compare(sources: &[Source], a: usize, b: usize) -> Ordering {
    let (Some(left), Some(right)) = (sources.get(a), sources.get(b)) else {
        return Ordering::Equal;
    };
    let users = left.user().cmp(&right.user());
    users.then_with(|| right.tag().cmp(&left.tag()).then(a.cmp(&b)))
}
