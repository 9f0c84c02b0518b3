/// One file of a corpus as a listing saw it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileEntry {
    /// Path below the corpus root, parts separated by `/`. Raw bytes: names need not be UTF-8.
    pub key: Vec<u8>,
    /// Size in bytes.
    pub size: u64,
    /// Names the content: equal etags of one key mean equal content.
    pub etag: String,
}

impl FileEntry {
    /// Longer keys are not stored. The limit of a path on Linux, less its final zero.
    pub const MAX_KEY_BYTES: usize = 4095;
    /// Longer etags are not stored; object stores keep below 100 bytes.
    pub const MAX_ETAG_BYTES: usize = 1024;
}
