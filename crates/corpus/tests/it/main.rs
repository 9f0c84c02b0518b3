//! Corpora in real folders: everything a file system can put in the way of a listing or an open.

#[cfg(test)]
mod folder;
#[cfg(test)]
mod known;
#[cfg(test)]
mod listing;
#[cfg(test)]
mod opening;
