//! The life of versions, seen from outside: real servers, real files, faults made by hand.

mod beside;
mod faults;
mod full_disk;
mod kill;
mod life;
mod storage;
mod world;
