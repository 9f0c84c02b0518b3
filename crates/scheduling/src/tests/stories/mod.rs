//! Stories, one file per theme.

mod attempts;
mod hostile;
mod hunts;
mod leases;
mod listings;
mod order;
mod replicas;
mod settlements;
mod tenants;
mod versions;
