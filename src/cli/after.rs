//! `storeshift back` and `storeshift finish`: what may follow the switch.

use super::{
    args::{BackArgs, TargetArgs},
    report,
};
use crate::{
    error::Error,
    migrator,
    plan::{Paths, PlanError},
};

pub fn back(args: &BackArgs) -> Result<(), Error> {
    let (target, planned, tuning) = args.target.resolve()?;
    let given = args.source.clone().map(|source| Paths { source, target: target.clone(), ..Paths::default() });
    let missing = || PlanError::Value("give --source, the store/v1 database that was migrated".to_owned());
    let paths = given.or(planned).ok_or_else(missing)?;
    let returned = migrator::back(&paths, args.lose, tuning)?;
    report::returned(&returned, &paths);
    Ok(())
}

pub fn finish(args: &TargetArgs) -> Result<(), Error> {
    let (target, _, _) = args.resolve()?;
    let version = migrator::finish(&target)?;
    report::finished(version, &target);
    Ok(())
}
