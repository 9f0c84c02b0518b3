//! Findings through their file format and their printed form.

#[cfg(test)]
mod format;
#[cfg(test)]
mod ndjson;
#[cfg(test)]
mod sample;
