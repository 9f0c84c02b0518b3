// Settings of miners: what is left on a disk when the program itself runs from memory only.

rule miner_configuration : miner json
{
    meta:
        author = "Dragnet"
        description = "JSON settings of a miner: a list of pools with an address, a user and a donation"
        severity = "high"
    strings:
        $pools = "\"pools\"" nocase
        $donate = "\"donate-level\"" nocase
        $url = /"url"\s{0,4}:\s{0,4}"(stratum\+(tcp|ssl):\/\/)?[a-z0-9.\-]{4,80}:\d{2,5}"/ nocase
        $user = "\"user\"" nocase
        $algorithm = /"(algo|coin)"\s{0,4}:\s{0,4}("[a-z0-9\/\-]{2,20}"|null)/ nocase
    condition:
        filesize < 256KB and $url and $user and ($donate or ($pools and $algorithm))
}

rule miner_wallet_setting : miner wallet
{
    meta:
        author = "Dragnet"
        description = "Setting that names a Monero address (95 or 106 base58 characters) as the user to be paid"
        severity = "high"
        reference = "https://docs.getmonero.org/public-address/standard-address/"
    strings:
        $json = /"(user|wallet|login|address)"\s{0,4}:\s{0,4}"[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}/
        $option = /--(user|wallet|login)[ =]['"]?[48][0-9AB][1-9A-HJ-NP-Za-km-z]{93}/
    condition:
        filesize < 1MB and any of them
}

rule miner_in_web_page : miner javascript
{
    meta:
        author = "Dragnet"
        description = "Web page or script that starts a miner in its visitor's browser"
        severity = "medium"
    strings:
        $start = /new[ \t]+[A-Za-z.]{2,30}\.(Anonymous|User)\([ \t]{0,4}['"][0-9A-Za-z]{20,64}['"]/
        $throttle = /throttle['"]?\s{0,4}[:=(]\s{0,4}0?\.\d/
        $module = "cryptonight" nocase
        $memory = "WebAssembly."
    condition:
        filesize < 4MB and (($start and $throttle) or ($module and $memory and #memory < 64))
}
