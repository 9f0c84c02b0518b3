//! Opening a key below a folder without ever leaving it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::{
    fs::{Mode, OFlags, ResolveFlags, openat, openat2},
    io::Errno,
};

/// Tries this often if the kernel could not tell because of concurrent renames.
const ATTEMPTS: u32 = 4;

/// Opens `key` below `root`. An empty key is the root itself.
///
/// Errors: `EINVAL` for a key that no listing produces (absolute, with `..`, `.`, empty parts or a zero
/// byte), `ELOOP` or `ENOTDIR` for symbolic links on the way, else what the kernel says.
pub(super) fn open(root: impl AsFd, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if key.is_empty() {
        return openat(root, c".", flags, Mode::empty());
    }
    check(key)?;
    match open_at_once(root.as_fd(), key, flags) {
        // No openat2 before Linux 5.6, under gVisor, and in containers whose seccomp profile predates it.
        Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => open_part_by_part(root, key, flags),
        opened => opened,
    }
}

/// Opens what is directly in `folder`, without a way to check. Errors: as [`open`].
pub(super) fn open_in(folder: impl AsFd, name: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    if name.contains(&b'/') {
        return Err(Errno::INVAL);
    }
    check(name)?;
    openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty())
}

fn check(key: &[u8]) -> Result<(), Errno> {
    let fine = |part: &[u8]| !matches!(part, b"" | b"." | b"..") && !part.contains(&0);
    if key.split(|&byte| byte == b'/').all(fine) { Ok(()) } else { Err(Errno::INVAL) }
}

fn open_at_once(root: impl AsFd, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut result = Err(Errno::AGAIN);
    for _ in 0..ATTEMPTS {
        result = openat2(root.as_fd(), key, flags, Mode::empty(), resolve);
        if !matches!(result, Err(Errno::AGAIN | Errno::INTR)) {
            break;
        }
    }
    result
}

/// The same without openat2: each part is opened in its parent's descriptor, links refused, so that no
/// rename between two steps leads outside.
fn open_part_by_part(root: impl AsFd, key: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let through = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut parts = key.split(|&byte| byte == b'/');
    let last = parts.next_back().unwrap_or(key);
    let mut folder = openat(root, c".", through, Mode::empty())?;
    for part in parts {
        folder = openat(&folder, part, through, Mode::empty())?;
    }
    openat(&folder, last, flags | OFlags::NOFOLLOW, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use rustix::fs::{CWD, fstat};
    use tempfile::TempDir;

    use super::*;

    /// The second way is hardly ever taken, so it is held against the first.
    #[test]
    fn both_ways_open_and_refuse_the_same() {
        let outer = TempDir::new().unwrap();
        let inner = outer.path().join("root");
        fs::create_dir_all(inner.join("a/b")).unwrap();
        fs::write(inner.join("a/b/file"), "").unwrap();
        fs::write(outer.path().join("secret"), "").unwrap();
        symlink("a", inner.join("to-folder")).unwrap();
        symlink("a/b/file", inner.join("to-file")).unwrap();
        symlink("..", inner.join("out")).unwrap();
        symlink("loop", inner.join("loop")).unwrap();

        let folder = OFlags::RDONLY | OFlags::DIRECTORY;
        let root = openat(CWD, &inner, folder, Mode::empty()).unwrap();
        let way = |open: fn(&OwnedFd, &[u8], OFlags) -> Result<OwnedFd, Errno>, key: &[u8], flags| {
            open(&root, key, flags).map(|opened| fstat(opened).unwrap().st_ino)
        };
        let mut opened = 0;
        for key in
            ["a", "a/b", "a/b/file", "a/none", "none/a", "a/b/file/x", "to-folder/b", "to-file", "out/secret", "loop"]
        {
            for flags in [OFlags::RDONLY, folder] {
                let at_once = way(|root, key, flags| open_at_once(root, key, flags), key.as_bytes(), flags);
                let by_part = way(|root, key, flags| open_part_by_part(root, key, flags), key.as_bytes(), flags);
                opened += usize::from(at_once.is_ok());
                // A link on the way is ELOOP to one and "not a folder" to the other: both mean that nothing is there.
                let alike = |result: Result<u64, Errno>| {
                    result.map_err(|error| if error == Errno::NOTDIR { Errno::LOOP } else { error })
                };
                assert_eq!(alike(at_once), alike(by_part), "{key} {flags:?}");
            }
        }
        assert_eq!(opened, 5);
    }

    #[test]
    fn keys_that_no_listing_produces_are_not_tried() {
        let root = openat(CWD, "/", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        for key in ["..", ".", "a/../b", "a/./b", "/etc", "a//b", "a/", "a\0b"] {
            assert_eq!(open(&root, key.as_bytes(), OFlags::RDONLY).unwrap_err(), Errno::INVAL, "{key:?}");
        }
    }
}
