// Tools for networks that are welcome in an administrator's hands only, recognised by what they say of themselves.

private rule native_program
{
    condition:
        uint32be(0) == 0x7f454c46 or uint16(0) == 0x5a4d
}

rule tool_tunnel : tool network
{
    meta:
        author = "Dragnet"
        description = "Program that forwards connections through a relay outside, judged by its options"
        severity = "low"
    strings:
        $socks_1 = "socks5" nocase fullword
        $socks_2 = "SOCKS server" nocase
        $forward_1 = "remote port forward" nocase
        $forward_2 = "reverse tunnel" nocase
        $forward_3 = "dynamic port forward" nocase
        $forward_4 = "remote forward" nocase
    condition:
        native_program and filesize < 64MB and any of ($socks_*) and any of ($forward_*)
}

rule tool_listens_and_executes : tool network
{
    meta:
        author = "Dragnet"
        description = "netcat or a relative that can tie a program to a connection"
        severity = "low"
    strings:
        $listen = /listen mode,? for inbound connects|-l[^\n]{0,40}[Ll]isten (mode|for)/
        $execute_1 = "program to exec after connect" nocase
        $execute_2 = "Executes the given command" nocase
        $execute_3 = "Use connection instead of stdin/stdout" nocase
    condition:
        native_program and $listen and any of ($execute_*)
}

rule tool_scans_ports : tool network
{
    meta:
        author = "Dragnet"
        description = "Program that scans ports: names several kinds of scan"
        severity = "low"
    strings:
        $scan_1 = "SYN scan" nocase
        $scan_2 = "UDP scan" nocase
        $scan_3 = "Xmas scan" nocase
        $scan_4 = "port scan" nocase
        $scan_5 = "open ports" nocase fullword
        $scan_6 = "banner grab" nocase
    condition:
        native_program and filesize < 64MB and 3 of them
}

rule tool_guesses_passwords : tool credentials
{
    meta:
        author = "Dragnet"
        description = "Program that tries lists of user names and passwords against a service"
        severity = "medium"
    strings:
        $list_1 = "wordlist" nocase fullword
        $list_2 = "password list" nocase
        $list_3 = "brute force" nocase
        $list_4 = "bruteforce" nocase
        $result_1 = "valid credentials" nocase
        $result_2 = "login found" nocase
        $result_3 = "password found" nocase
        $result_4 = "passwords cracked" nocase
    condition:
        native_program and filesize < 64MB and any of ($list_*) and any of ($result_*)
}

rule tool_default_passwords : botnet credentials
{
    meta:
        author = "Dragnet"
        description = "ELF program with several passwords that routers and cameras are delivered with, and the words of a telnet login"
        severity = "high"
    strings:
        $password_1 = "xc3511" fullword
        $password_2 = "vizxv" fullword
        $password_3 = "7ujMko0admin" fullword
        $password_4 = "hi3518" fullword
        $password_5 = "klv1234" fullword
        $password_6 = "zlxx." fullword
        $xored = "xc3511" xor(0x01-0xff)
        $encoded = "7ujMko0admin" xor(0x01-0xff)
        $shell = "/bin/busybox"
        $enable = "enable" fullword
    condition:
        uint32be(0) == 0x7f454c46 and filesize < 4MB
        and (3 of ($password_*) or ($xored and $encoded)) and any of ($shell, $enable, $encoded)
}

rule tool_shell_from_network : tool network inventory
{
    meta:
        author = "Dragnet"
        description = "Small program that names a shell and imports all that a server for one needs"
        severity = "info"
    strings:
        $shell = /\x00\/bin\/(ba)?sh\x00/
        $import_1 = "\x00socket\x00"
        $import_2 = "\x00dup2\x00"
        $import_3 = "\x00execve\x00"
        $import_4 = "\x00execl\x00"
        $import_5 = "\x00accept\x00"
        $import_6 = "\x00connect\x00"
    condition:
        uint32be(0) == 0x7f454c46 and filesize < 512KB and $shell and $import_1 and $import_2
        and any of ($import_3, $import_4) and any of ($import_5, $import_6)
}
