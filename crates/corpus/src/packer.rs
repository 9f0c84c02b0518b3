use types::{MAX_SEGMENT_BYTES, MAX_SEGMENT_FILES};

use crate::{FileEntry, Manifest};

/// Cuts a stream of files into segments: neighbours of the listing stay together, a segment is at most
/// [`MAX_SEGMENT_FILES`] files and [`MAX_SEGMENT_BYTES`] bytes, and a larger file is a segment alone.
#[derive(Debug, Default)]
pub struct Packer {
    files: Vec<FileEntry>,
    bytes: u64,
}

impl Packer {
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; gives the segment before it if the file does not fit there.
    pub fn push(&mut self, entry: FileEntry) -> Option<Manifest> {
        let fits = self.files.len() < MAX_SEGMENT_FILES && self.bytes.saturating_add(entry.size) <= MAX_SEGMENT_BYTES;
        let full = if fits { None } else { self.take() };
        self.bytes = self.bytes.saturating_add(entry.size);
        self.files.push(entry);
        full
    }

    /// The last segment, if there were files at all.
    pub fn finish(mut self) -> Option<Manifest> {
        self.take()
    }

    fn take(&mut self) -> Option<Manifest> {
        self.bytes = 0;
        let files = std::mem::take(&mut self.files);
        (!files.is_empty()).then_some(Manifest { files })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packs files of these sizes and gives the sizes by segment.
    fn pack(sizes: impl IntoIterator<Item = u64>) -> Vec<Vec<u64>> {
        let mut packer = Packer::new();
        let entry = |size| FileEntry { key: b"k".to_vec(), size, etag: String::new() };
        let mut segments: Vec<_> = sizes.into_iter().filter_map(|size| packer.push(entry(size))).collect();
        segments.extend(packer.finish());
        segments.iter().map(|segment| segment.files.iter().map(|file| file.size).collect()).collect()
    }

    #[test]
    fn no_files_make_no_segment() {
        assert!(pack([]).is_empty());
    }

    #[test]
    fn a_segment_ends_at_the_limit_of_files() {
        let lengths: Vec<_> = pack(vec![0; 2 * MAX_SEGMENT_FILES + 1]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [MAX_SEGMENT_FILES, MAX_SEGMENT_FILES, 1]);
    }

    #[test]
    fn a_segment_ends_at_the_limit_of_bytes_and_may_reach_it() {
        const HALF: u64 = MAX_SEGMENT_BYTES / 2;
        assert_eq!(pack([HALF, HALF, 1, HALF]), [vec![HALF, HALF], vec![1, HALF]]);
    }

    #[test]
    fn a_larger_file_is_alone_wherever_it_comes() {
        const LARGE: u64 = MAX_SEGMENT_BYTES + 1;
        assert_eq!(
            pack([LARGE, 0, 1, LARGE, u64::MAX, 2]),
            [vec![LARGE], vec![0, 1], vec![LARGE], vec![u64::MAX], vec![2]]
        );
    }
}
