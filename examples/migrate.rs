//! A whole migration from Rust, on the calling thread. Run it again after any stop, and it continues.
//!
//!     cargo run --release --example migrate -- SOURCE/application.db TARGET

use storeshift::{
    Error, migrator,
    plan::{Paths, Plan, Tuning},
};

fn main() -> Result<(), Error> {
    let mut args = std::env::args_os().skip(1);
    let mut path = || args.next().unwrap_or_else(|| panic!("SOURCE/application.db and TARGET, please")).into();
    let paths = Paths { source: path(), target: path(), changesets: None };
    let mut job = migrator::open(&paths, &Plan::new(), Tuning::default())?;
    println!("{:?}", job.run()?);
    Ok(())
}
