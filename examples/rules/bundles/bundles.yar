// Programs that carry an interpreter, an archive or a whole file system along and unpack it when started.
//
// The last rule names the others by wildcard, which YARA has since 4.2 and YARA-X 1.x has not:
// that is why this file is a ruleset of its own.

private rule unpacking_host
{
    condition:
        uint32be(0) == 0x7f454c46 or uint16(0) == 0x5a4d
}

rule bundle_pyinstaller : bundle python
{
    meta:
        author = "Dragnet"
        description = "Program made by PyInstaller: the archive's closing cookie stands near the end of the file"
        severity = "low"
        reference = "https://pyinstaller.org/en/stable/advanced-topics.html"
    strings:
        $cookie = { 4D 45 49 0C 0B 0A 0B 0E }
    condition:
        unpacking_host and for any i in (1..#cookie) : (@cookie[i] > filesize - 64KB)
}

rule bundle_zip_after_program : bundle archive
{
    meta:
        author = "Dragnet"
        description = "Program that ends in a ZIP directory: a self-extracting archive or a frozen script"
        severity = "info"
    strings:
        $end_of_directory = { 50 4B 05 06 00 00 00 00 }
    condition:
        unpacking_host and filesize > 22
        and for any i in (1..#end_of_directory) : (
            // The directory's comment is the only thing that may follow its 22 bytes.
            @end_of_directory[i] + 22 + uint16(@end_of_directory[i] + 20) == filesize
        )
}

rule bundle_appimage : bundle archive
{
    meta:
        author = "Dragnet"
        description = "AppImage: an ELF program with a file system attached, marked in the padding of its ident"
        severity = "info"
        reference = "https://github.com/AppImage/AppImageSpec"
    condition:
        uint32be(0) == 0x7f454c46 and uint16be(8) == 0x4149 and (uint8(10) == 1 or uint8(10) == 2)
}

rule bundle_shell_archive : bundle script
{
    meta:
        author = "Dragnet"
        description = "Shell script with a compressed payload after its last line"
        severity = "low"
    strings:
        $cut_self = /(tail|sed|dd|head)[ \t][^\n]{0,60}("?\$\{?0\}?"?|\$\{?BASH_SOURCE)/
        $gzip = { 0A 1F 8B 08 0? }
        $xz = { 0A FD 37 7A 58 5A 00 }
        $bzip2 = { 0A 42 5A 68 3? 31 41 59 26 53 59 }
    condition:
        uint16be(0) == 0x2321 and $cut_self in (0..64KB) and any of ($gzip, $xz, $bzip2)
}

// No rule named bundle_* may follow this one: the wildcard closes its set. Private rules count too,
// so their names must not begin like it either.
rule unpacks_itself : summary
{
    meta:
        author = "Dragnet"
        description = "At least one bundle rule fired on a program small enough to be sent by mail"
        severity = "low"
    condition:
        filesize < 32MB and any of (bundle_*)
}
