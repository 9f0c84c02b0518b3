// Programs that mine a currency, or scripts that clear a machine for one.

private rule mining_pool_address
{
    strings:
        $stratum = /stratum2?\+(tcp|tls|ssl|udp):\/\/[a-z0-9.\-]{3,80}/ nocase
        $stratum_wide = "stratum+tcp://" wide nocase
    condition:
        any of them
}

private rule native_program
{
    condition:
        uint32be(0) == 0x7f454c46 or uint16(0) == 0x5a4d
}

rule miner_program : miner
{
    meta:
        author = "Dragnet"
        description = "Program that speaks a mining pool's protocol and names at least two mining algorithms"
        severity = "high"
        reference = "https://en.bitcoin.it/wiki/Stratum_mining_protocol"
    strings:
        $call_1 = "mining.subscribe" ascii wide
        $call_2 = "mining.authorize" ascii wide
        $call_3 = "mining.submit" ascii wide
        $call_4 = "\"method\":\"keepalived\""
        $algorithm_1 = "randomx" nocase fullword
        $algorithm_2 = "cryptonight" nocase
        $algorithm_3 = "kawpow" nocase fullword
        $algorithm_4 = "ethash" nocase fullword
        $algorithm_5 = "yescrypt" nocase
        $algorithm_6 = "equihash" nocase
    condition:
        native_program and any of ($call_*) and 2 of ($algorithm_*)
}

rule miner_program_hidden : miner obfuscation
{
    meta:
        author = "Dragnet"
        description = "Program that keeps a mining pool's address encoded by xor or base64"
        severity = "high"
    strings:
        $xored = "stratum+tcp://" xor(0x01-0xff)
        $base64 = "stratum+tcp://" base64 base64wide
    condition:
        native_program and any of them
}

rule miner_program_pool : miner
{
    meta:
        author = "Dragnet"
        description = "Program with the address of a mining pool built in"
        severity = "medium"
    condition:
        native_program and mining_pool_address
}

rule miner_cpu_tuning : miner script
{
    meta:
        author = "Dragnet"
        description = "Script that sets model specific registers and huge pages together, as only miners need"
        severity = "medium"
    strings:
        $registers = /(^|[ \t;&])wrmsr[ \t]+(-a[ \t]+)?0x[0-9a-f]{2,8}/
        $module = "modprobe msr"
        $pages = "vm.nr_hugepages"
    condition:
        uint16be(0) == 0x2321 and $pages and ($registers or $module)
}

rule miner_evicts_rivals : miner script
{
    meta:
        author = "Dragnet"
        description = "Script that ends the processes of several miners, most often to make room for its own"
        severity = "high"
    strings:
        $kill = /(pkill|killall|kill)[ \t]+(-[0-9A-Za-z]+[ \t]+){0,3}[^\n]{0,40}(xmrig|minerd|kinsing|ccminer|cpuminer|kdevtmpfsi|xmr-stak|nanominer)/ nocase
    condition:
        filesize < 1MB and #kill >= 3
}
