//! File systems that store nothing: views of the kernel's own state, made anew whenever somebody looks.

use std::os::fd::AsFd;

use rustix::fs::fstatfs;

/// `f_type` of each, as in Linux's `include/uapi/linux/magic.h`. tmpfs is not among them: files do lie there.
const MAGIC: &[u32] = &[
    0x0000_9fa0, // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0x6265_6570, // configfs
    0xcafe_4a11, // bpf
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0xf97c_ff8c, // selinuxfs
    0x6573_5543, // fusectl
    0x4249_4e4d, // binfmt_misc
    0x1980_0202, // mqueue
    0x0000_1cd1, // devpts
    0x6e73_6673, // nsfs
];

/// Whether the folder shows kernel state. A folder that cannot be asked does not.
pub(super) fn is_one(folder: impl AsFd) -> bool {
    // The field's width differs by architecture; the numbers themselves have 32 bits.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a bit pattern, not a quantity")]
    fstatfs(folder).is_ok_and(|stat| MAGIC.contains(&(stat.f_type as u32)))
}
