//! Bringing a shard's files into the page cache, and asking how much of them is there.
//!
//! Files that were just written or downloaded may not be in memory at all, and the first reads of a version
//! that begins to serve must not pay for that.

use std::{
    fs::File,
    io::{self, IoSliceMut},
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    path::Path,
};

use rustix::{
    fs::Advice,
    io::{Errno, ReadWriteFlags},
};

use crate::{Error, Shard};

/// What is read between two calls of the pacing function.
const STEP: usize = 1 << 20;
/// Pages looked at to estimate what is in memory, over all files: an error below 3 % nearly always.
const SAMPLES: u64 = 2048;
/// Those taken between two calls of the pacing function: some 50 us of a core.
const SAMPLES_AT_A_TIME: u32 = 64;
const PAGE: u64 = 4096;

impl Shard {
    /// Reads all files once, so that they are in the page cache as far as it has room.
    ///
    /// `pace` is called after each piece with its bytes: it may sleep to keep a rate, or break to stop.
    /// Returns the bytes read.
    pub fn warm(&self, mut pace: impl FnMut(u64) -> ControlFlow<()>) -> Result<u64, Error> {
        let mut total = 0;
        let mut buffer = vec![0; STEP];
        for path in self.files() {
            let failed = |source| Error::File { file: path.clone(), source };
            let file = File::open(path).map_err(failed)?;
            let mut offset = 0;
            loop {
                let read = file.read_at(&mut buffer, offset).map_err(failed)? as u64;
                if read == 0 {
                    break;
                }
                offset += read;
                total += read;
                if pace(read).is_break() {
                    return Ok(total);
                }
            }
        }
        Ok(total)
    }

    /// The share of the files' pages that is in the page cache, from 0.0 to 1.0, estimated from samples.
    /// `None` where the file system cannot tell.
    ///
    /// Cost: some 2,000 reads of one byte that never wait, between one and two milliseconds of a core. `pace` is called after every
    /// 64 of them: it may sleep, so that nobody waits for all at once, or break, and the estimate is made of the samples so far.
    pub fn resident_fraction(&self, mut pace: impl FnMut() -> ControlFlow<()>) -> Result<Option<f64>, Error> {
        let (mut seen, mut resident) = (0_u32, 0_u32);
        let bytes = self.bytes().max(1);
        'files: for path in self.files() {
            let failed = |source| Error::File { file: path.clone(), source };
            let (file, pages) = open_for_samples(path).map_err(failed)?;
            let share = SAMPLES.saturating_mul(pages.saturating_mul(PAGE)) / bytes;
            let stride = (pages / share.clamp(1, pages.max(1))).max(1);
            for page in (0..pages).step_by(usize::try_from(stride).unwrap_or(usize::MAX)) {
                match is_resident(&file, page * PAGE).map_err(failed)? {
                    Some(is_resident) => {
                        seen += 1;
                        resident += u32::from(is_resident);
                    }
                    None => return Ok(None),
                }
                if seen % SAMPLES_AT_A_TIME == 0 && pace().is_break() {
                    break 'files;
                }
            }
        }
        Ok(Some(if seen == 0 { 1.0 } else { f64::from(resident) / f64::from(seen) }))
    }
}

fn open_for_samples(path: &Path) -> io::Result<(File, u64)> {
    let file = File::open(path)?;
    // Without it, asking for one page would read its neighbours in, and the answer be wrong afterwards.
    rustix::fs::fadvise(&file, 0, None, Advice::Random)?;
    let pages = file.metadata()?.len().div_ceil(PAGE);
    Ok((file, pages))
}

/// Whether reading at `offset` would be answered from memory. `None` if the file system does not say.
fn is_resident(file: &File, offset: u64) -> io::Result<Option<bool>> {
    let mut byte = [0];
    loop {
        return match rustix::io::preadv2(file, &mut [IoSliceMut::new(&mut byte)], offset, ReadWriteFlags::NOWAIT) {
            Ok(_) => Ok(Some(true)),
            Err(Errno::AGAIN) => Ok(Some(false)),
            Err(Errno::INTR) => continue,
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        };
    }
}
