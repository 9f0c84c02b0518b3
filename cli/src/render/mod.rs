//! How answers look: numbers and times for people, tables, bytes, progress; and where they are written.

mod bar;
mod bytes;
mod number;
mod out;
mod progress;
mod table;

pub use bar::HuntBars;
pub use bytes::{escaped, hex_and_text};
pub use number::{bytes, count, elapsed, percent, plural, rate, utc};
pub use out::{Closed, Out};
pub use progress::{Progress, Speed};
pub use table::{Align, Table};
