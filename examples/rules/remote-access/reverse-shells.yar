// One-liners and small programs that connect out and hand over a shell.
// Each string ties the connection to the shell: either alone is everyday code.

rule reverse_shell_bash : reverse_shell shell
{
    meta:
        author = "Dragnet"
        description = "Shell whose input and output were tied to bash's network device"
        severity = "high"
        reference = "https://www.gnu.org/software/bash/manual/html_node/Redirections.html"
    strings:
        $interactive = /\bsh -i[^\n]{0,20}(>&|&>|<>|<|>)[ \t]{0,4}\/dev\/(tcp|udp)\/[^\s\/]{1,80}\/[0-9$]/
        $descriptor = /exec[ \t]{1,4}[0-9]{1,3}<>[ \t]{0,4}\/dev\/(tcp|udp)\/[^\s\/]{1,80}\/[0-9$][^\n]{0,12}(\n|;)[^\n]{0,80}(sh\b|while read|cat <&)/
    condition:
        filesize < 4MB and any of them
}

rule reverse_shell_netcat : reverse_shell shell
{
    meta:
        author = "Dragnet"
        description = "netcat, socat or telnet that starts a shell or is tied to one by a named pipe"
        severity = "high"
    strings:
        $execute = /\b(nc|ncat|netcat)(\.traditional)?[ \t][^\n|;]{0,60}-(e|c)[ \t]{1,4}["']?(\/bin\/|\/usr\/bin\/)?(ba|da)?sh\b/
        $pipe = /mk(fifo|nod)[ \t][^\n]{1,80}(;|&&|\n)[^\n]{0,120}sh[ \t]{1,4}-i[^\n]{0,40}\|[^\n]{0,40}(nc|ncat|telnet|openssl s_client)[ \t]/
        $socat = /socat[ \t][^\n]{0,80}exec:["']?(\/bin\/)?(ba)?sh[^\n]{0,80}(pty|stderr|setsid)/ nocase
    condition:
        filesize < 4MB and any of them
}

rule reverse_shell_interpreter : reverse_shell script
{
    meta:
        author = "Dragnet"
        description = "Python, Perl, Ruby or PHP that copies a socket onto its standard streams and starts a shell"
        severity = "high"
    strings:
        $python_socket = "socket.socket("
        $python_copy = /os\.dup2\([ \t]{0,4}[a-z_]{1,12}\.fileno\(\)[ \t]{0,4},[ \t]{0,4}[0-2]/
        $python_start = /(pty\.spawn\(|subprocess\.(call|run|Popen)\([ \t]{0,4}\[?)[ \t]{0,4}["'](\/usr)?(\/bin\/)?(ba)?sh["']/
        $perl_socket = /socket\([ \t]{0,4}[A-Z]{1,8},[ \t]{0,4}PF_INET/
        $perl_copy = /open\([ \t]{0,4}STDIN,[ \t]{0,4}["']>&/
        $perl_start = /exec[ \t({]{1,4}["']\/bin\/(ba)?sh -i["']/
        $ruby = /TCPSocket\.(new|open)\([^\n]{4,80}exec[^\n]{0,10}\/bin\/(ba)?sh -i/
        $php = /fsockopen\([^\n]{4,80};[^\n]{0,40}(exec|shell_exec|system|passthru|popen|proc_open)\(["'](\/bin\/)?(ba)?sh -i/
    condition:
        filesize < 4MB and (all of ($python_*) or all of ($perl_*) or $ruby or $php)
}

rule reverse_shell_program : reverse_shell elf
{
    meta:
        author = "Dragnet"
        description = "Very small ELF program that connects, copies descriptors and starts /bin/sh by raw system calls"
        severity = "high"
    strings:
        // mov al, 42 or push 41: socket and connect on x86-64; push 33, dup2; push 59, execve. All end in syscall.
        $socket = { 6A 29 58 [0-12] 0F 05 }
        $connect = { (6A 2A 58 | B0 2A) [0-12] 0F 05 }
        $copy = { (6A 21 58 | B0 21) [0-6] 0F 05 }
        $start = { (6A 3B 58 | B0 3B) [0-24] 0F 05 }
        $shell = { 2F 62 69 6E 2F (73 68 | 2F 73 68 | 62 61 73 68) }
    condition:
        uint32be(0) == 0x7f454c46 and filesize < 16KB and $socket and $connect and $copy and $start and $shell
}
