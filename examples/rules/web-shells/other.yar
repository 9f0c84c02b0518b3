// The same idea as in php.yar for Java, .NET, Python and the web server's own settings.

rule jsp_runs_request : webshell java
{
    meta:
        author = "Dragnet"
        description = "JSP that starts a process with a request parameter"
        severity = "high"
    strings:
        $page = /<%[@!=\s]/
        $parameter = /request\s{0,4}\.\s{0,4}get(Parameter|Header|InputStream|Reader)\s{0,4}\(/
        $start_1 = /getRuntime\s{0,4}\(\s{0,4}\)\s{0,4}\.\s{0,4}exec\s{0,4}\(/
        $start_2 = /new\s{1,4}(java\.lang\.)?ProcessBuilder\s{0,4}\(/
    condition:
        filesize < 1MB and $page and $parameter and any of ($start_*)
}

rule jsp_loads_request_class : webshell java
{
    meta:
        author = "Dragnet"
        description = "JSP that defines a class from bytes it received, so that no command shows in the page"
        severity = "high"
    strings:
        $page = /<%[@!=\s]/
        $define = "defineClass" fullword
        $decode_1 = "BASE64Decoder"
        $decode_2 = "Base64.getDecoder"
        $decode_3 = "Cipher.getInstance"
        $request = "request.get"
    condition:
        filesize < 1MB and $page and $define and $request and any of ($decode_*)
}

rule aspx_runs_request : webshell dotnet
{
    meta:
        author = "Dragnet"
        description = "ASP or ASP.NET page that evaluates a request item or starts a process with it"
        severity = "high"
    strings:
        $page_1 = "<%@ Page" nocase ascii wide
        $page_2 = "<%@ WebHandler" nocase ascii wide
        $page_3 = "runat=\"server\"" nocase ascii wide
        $page_4 = "<%eval" nocase ascii wide
        $evaluate = /(eval|execute|executeglobal)[ \t]{0,4}\(?[ \t]{0,4}request[ \t]{0,4}(\(|\[|\.item|\.form)/ nocase
        $start = "Process.Start" nocase ascii wide
        $start_information = "ProcessStartInfo" nocase ascii wide
        $request = /Request[ \t]{0,4}(\[|\.Form|\.QueryString|\.Params|\.Headers)/ nocase
    condition:
        filesize < 1MB and any of ($page_*) and ($evaluate or ($request and $start and $start_information))
}

rule python_runs_request : webshell python
{
    meta:
        author = "Dragnet"
        description = "Python web handler that gives a request field to a shell or to exec"
        severity = "high"
    strings:
        $field = /(os\.system|os\.popen|subprocess\.(run|call|Popen|check_output|getoutput)|exec|eval)\([ \t]{0,4}(flask\.)?(request\.(args|form|values|json|headers|data|cookies|GET|POST)|form\.getvalue|form\.getfirst)/
    condition:
        filesize < 1MB and $field
}

rule server_settings_run_images : webshell configuration
{
    meta:
        author = "Dragnet"
        description = "Web server settings that make the server run pictures or text files as PHP"
        severity = "high"
    strings:
        $handler = /(AddType|AddHandler)[ \t]{1,8}application\/x-httpd-php[0-9]?[ \t][^\n]{0,60}\.(jpe?g|png|gif|txt|ico|css)/ nocase
        $prepend = /php_value[ \t]{1,8}auto_(prepend|append)_file[ \t]{1,8}[^\n]{0,80}\.(jpe?g|png|gif|txt|ico)/ nocase
    condition:
        filesize < 64KB and any of them
}

rule small_page_with_process_call : webshell inventory
{
    meta:
        author = "Dragnet"
        description = "Small server page that can start processes at all; worth a look in a folder for uploads"
        severity = "low"
    strings:
        $php = /(shell_exec|passthru|proc_open|pcntl_exec)[ \t]{0,4}\(/
        $java = "Runtime.getRuntime().exec"
        $dotnet = "System.Diagnostics.Process"
    condition:
        // file_size is the size on disk, which content cut off by a limit does not change.
        file_size < 64KB and extension matches /^\.(php[0-9]?|phtml|phar|jspx?|aspx?|ashx|cgi)$/ and any of them
}
