// What an ELF program can do, judged by the functions it imports and the paths it names.
// An ability is not an intent: most findings here are the system's own tools, and their severity says so.
//
// Strings come first in each condition: the loop over dynamic symbols runs only for files that name the function at all.

import "elf"

private rule elf_dynamic
{
    condition:
        uint32be(0) == 0x7f454c46 and elf.type != elf.ET_REL and elf.dynsym_entries > 0
}

private rule elf_any
{
    condition:
        uint32be(0) == 0x7f454c46
}

rule ability_changes_user : elf privilege inventory
{
    meta:
        author = "Dragnet"
        description = "Imports a function that sets the user: a tool that drops or takes privileges, with its groups or without"
        severity = "info"
    strings:
        $user = "\x00setuid\x00"
        $user_effective = "\x00seteuid\x00"
        $user_all = "\x00setresuid\x00"
    condition:
        elf_dynamic and any of them
        and for any symbol in elf.dynsym :
            (symbol.shndx == 0 and (symbol.name == "setuid" or symbol.name == "seteuid" or symbol.name == "setresuid"))
}

rule ability_starts_program_from_memory : elf execution
{
    meta:
        author = "Dragnet"
        description = "Imports memfd_create together with a way to start what was written there"
        severity = "medium"
        reference = "https://man7.org/linux/man-pages/man2/memfd_create.2.html"
    strings:
        $memory = "\x00memfd_create\x00"
        $start_1 = "\x00fexecve\x00"
        $start_2 = "\x00execveat\x00"
        $path = "/proc/self/fd/%d"
    condition:
        elf_dynamic and $memory and any of ($start_*, $path)
        and for any symbol in elf.dynsym : (symbol.shndx == 0 and symbol.name == "memfd_create")
}

rule ability_controls_processes : elf injection
{
    meta:
        author = "Dragnet"
        description = "Imports ptrace, or the call that writes into another process's memory"
        severity = "low"
    strings:
        $trace = "\x00ptrace\x00"
        $write = "\x00process_vm_writev\x00"
    condition:
        elf_dynamic and any of them
        and for any symbol in elf.dynsym :
            (symbol.shndx == 0 and (symbol.name == "ptrace" or symbol.name == "process_vm_writev"))
}

rule ability_captures_traffic : elf network
{
    meta:
        author = "Dragnet"
        description = "Imports libpcap's functions to open a network interface"
        severity = "low"
    strings:
        $open_1 = "\x00pcap_open_live\x00"
        $open_2 = "\x00pcap_create\x00"
    condition:
        elf_dynamic and any of them
}

rule ability_loads_kernel_modules : elf kernel
{
    meta:
        author = "Dragnet"
        description = "Names the system calls that load a kernel module"
        severity = "low"
    strings:
        $call_1 = "finit_module" fullword
        $call_2 = "\x00init_module\x00"
        $delete = "delete_module" fullword
    condition:
        elf_dynamic and any of ($call_*) and $delete and filesize < 32MB
}

rule ability_reads_keyboard : elf input
{
    meta:
        author = "Dragnet"
        description = "Names input devices and the list of them: reads the keyboard below the desktop"
        severity = "low"
    strings:
        $device = "/dev/input/event"
        $list = "/proc/bus/input/devices"
        $by_path = "/dev/input/by-path"
    condition:
        elf_any and any of them
}

rule ability_overrides_library_calls : elf preload
{
    meta:
        author = "Dragnet"
        description = "Library that defines directory functions of libc itself and looks up the original: hides files or watches them"
        severity = "medium"
    strings:
        $lookup = "\x00dlsym\x00"
        $directory = "\x00readdir64\x00"
    condition:
        elf_dynamic and all of them and filesize < 1MB
        and for any symbol in elf.dynsym : (symbol.shndx != 0 and symbol.name == "readdir64")
}

rule ability_joins_namespaces : elf container inventory
{
    meta:
        author = "Dragnet"
        description = "Imports the calls that enter or leave namespaces: container tools, and escapes from containers"
        severity = "info"
    strings:
        $enter = "\x00setns\x00"
        $leave = "\x00unshare\x00"
    condition:
        elf_dynamic and all of them
        and for any symbol in elf.dynsym : (symbol.shndx == 0 and (symbol.name == "setns" or symbol.name == "unshare"))
}

rule ability_checks_passwords : elf credentials inventory
{
    meta:
        author = "Dragnet"
        description = "Imports the functions that check a password: PAM's, or crypt with the shadow file"
        severity = "info"
    strings:
        $pam = "\x00pam_authenticate\x00"
        $crypt = "\x00crypt\x00"
        $shadow = "\x00getspnam\x00"
    condition:
        elf_dynamic and ($pam or ($crypt and $shadow))
        and for any symbol in elf.dynsym :
            (symbol.shndx == 0 and (symbol.name == "pam_authenticate" or symbol.name == "crypt"))
}

rule ability_go_program : elf inventory
{
    meta:
        author = "Dragnet"
        description = "Program compiled by Go, recognised by the header of its build information"
        severity = "info"
        reference = "https://pkg.go.dev/debug/buildinfo"
    strings:
        $header = { FF 20 47 6F 20 62 75 69 6C 64 69 6E 66 3A (04 | 08) (00 | 01 | 02 | 03) }
    condition:
        elf_any and $header
}
