//! A migration in the background of a tokio program: start it, watch its status, stop it after a while if it is not done.
//!
//!     cargo run --release --example background -- SOURCE/application.db TARGET [SECONDS]

use std::time::Duration;
use storeshift::{
    Error, migrator,
    plan::{Paths, Plan, Tuning},
};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [source, target, limit @ ..] = args.as_slice() else {
        panic!("SOURCE/application.db and TARGET, please");
    };
    let limit = Duration::from_secs(limit.first().map_or(60, |seconds| seconds.parse().expect("seconds")));
    let paths = Paths { source: source.into(), target: target.into(), changesets: None };

    let job = migrator::open(&paths, &Plan::new(), Tuning::default())?;
    // The engines block, so the job has a thread of its own; this one stays free.
    let mut running = job.start(&paths.source);

    // Stopping is asking: the chunks in work are finished, and nothing that was recorded is lost.
    let stop = running.stop.clone();
    let timer = tokio::spawn(async move {
        tokio::time::sleep(limit).await;
        stop.ask("the time is up");
    });
    // The channel is closed when the job has ended.
    while running.status.changed().await.is_ok() {
        println!("{}", running.status.borrow_and_update().summary);
    }
    timer.abort();
    match running.end().await {
        Ok(outcome) => println!("{outcome:?}"),
        Err(Error::Stopped(why)) => println!("stopped ({why}); start again to continue"),
        Err(error) => return Err(error),
    }
    Ok(())
}
