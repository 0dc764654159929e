# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_awf_global_optspecs
    string join \n d/allow-domains= allow-domains-file= block-domains= block-domains-file= audit-mode ruleset-file= dns-servers= dns-over-https= upstream-proxy= ssl-bump allow-urls= enable-dlp enable-host-access allow-host-ports= allow-host-service-ports= topology-attach= e/env= env-all env-file= exclude-env= openai-api-target= anthropic-api-target= copilot-api-target= gemini-api-target= vertex-api-target= openai-api-base-path= anthropic-api-base-path= gemini-api-base-path= vertex-api-base-path= openai-api-auth-header= anthropic-api-auth-header= openai-base-url-env= rate-limit-rpm= rate-limit-rph= rate-limit-bytes-pm= no-rate-limit max-cache-misses= max-permission-denied= enable-token-steering max-model-multiplier= max-model-multiplier-cap= v/mount= container-workdir= work-dir= memory-limit= cpu-limit= pids-limit= agent-timeout= tty config= runtime= profile= docker-host= agent-image= image-registry= image-tag= b/build-local skip-pull k/keep-containers log-level= proxy-logs-dir= audit-dir= session-state-dir= diagnostic-logs record-chain record-key= record-exe-hash strict-audit otlp-endpoint= h/help V/version
end

function __fish_awf_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_awf_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_awf_using_subcommand
    set -l cmd (__fish_awf_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c awf -n "__fish_awf_needs_command" -s d -l allow-domains -d 'Domains that may be reached, separated by commas: `example.com` with its subdomains, `=example.com` without them, `*.example.com`, `http://` or `https://` before a name for one protocol only. Without any, nothing can be reached' -r
complete -c awf -n "__fish_awf_needs_command" -l allow-domains-file -d 'File with more of them, one or several a line, `#` starts a comment' -r
complete -c awf -n "__fish_awf_needs_command" -l block-domains -d 'Domains that must not be reached, whatever is allowed' -r
complete -c awf -n "__fish_awf_needs_command" -l block-domains-file -d 'File with more of them, in the same form' -r
complete -c awf -n "__fish_awf_needs_command" -l ruleset-file -d 'File with more allowed domains in YAML: `version: 1` and `rules:`, a list of `domain:` with `subdomains:` true or false. May be repeated' -r
complete -c awf -n "__fish_awf_needs_command" -l dns-servers -d 'Name servers that the proxy asks, as addresses separated by commas [default: those of this machine]' -r
complete -c awf -n "__fish_awf_needs_command" -l dns-over-https -d 'Let the proxy find names by DNS over HTTPS, at `https://dns.google/dns-query` unless another URL is given' -r
complete -c awf -n "__fish_awf_needs_command" -l upstream-proxy -d 'Proxy through which everything leaves, `http://HOST:PORT`, port 3128 unless given [default: `https_proxy` or `http_proxy`, whose `no_proxy` counts as well]' -r
complete -c awf -n "__fish_awf_needs_command" -l allow-urls -d 'With --ssl-bump: URLs that may be asked for, separated by commas, such as `https://github.com/my-org/*`. A host of any of them answers to nothing else' -r
complete -c awf -n "__fish_awf_needs_command" -l allow-host-ports -d 'Ports of this machine that may be reached, too, N or N-M separated by commas, none of them dangerous (SSH, databases and the like). `localhost` in the allowed domains opens this machine with the usual ports of development servers' -r
complete -c awf -n "__fish_awf_needs_command" -l allow-host-service-ports -d 'Ports of this machine that may be reached although they may be dangerous, such as those of a workflow\'s databases' -r
complete -c awf -n "__fish_awf_needs_command" -l topology-attach -d 'Let the command reach the ports that this running container exposes, by its name. May be repeated' -r
complete -c awf -n "__fish_awf_needs_command" -s e -l env -d 'Set a variable for the command; beats every other source. May be repeated' -r
complete -c awf -n "__fish_awf_needs_command" -l env-file -d 'File with variables, one KEY=VALUE a line, values as they are, `#` starts a comment line' -r
complete -c awf -n "__fish_awf_needs_command" -l exclude-env -d 'Never pass this variable, wherever it comes from. May be repeated' -r
complete -c awf -n "__fish_awf_needs_command" -l openai-api-target -d 'Server that gets the key of `OPENAI_API_KEY` [default: `OPENAI_API_TARGET`, else api.openai.com]. It is added to the allowed domains, like those of the next four' -r
complete -c awf -n "__fish_awf_needs_command" -l anthropic-api-target -d 'Server that gets the key of `ANTHROPIC_API_KEY` [default: `ANTHROPIC_API_TARGET`, else api.anthropic.com]' -r
complete -c awf -n "__fish_awf_needs_command" -l copilot-api-target -d 'Server that gets the token of `COPILOT_GITHUB_TOKEN`, or the key of `COPILOT_PROVIDER_API_KEY` [default: `COPILOT_API_TARGET`, else the one that belongs to `GITHUB_SERVER_URL` or `COPILOT_PROVIDER_BASE_URL`]' -r
complete -c awf -n "__fish_awf_needs_command" -l gemini-api-target -d 'Server that gets the key of `GEMINI_API_KEY` [default: `GEMINI_API_TARGET`, else generativelanguage.googleapis.com]' -r
complete -c awf -n "__fish_awf_needs_command" -l vertex-api-target -d 'Server that gets the key of `GOOGLE_API_KEY` [default: `VERTEX_API_TARGET`, else aiplatform.googleapis.com]' -r
complete -c awf -n "__fish_awf_needs_command" -l openai-api-base-path -d 'What goes before the path of each request to OpenAI\'s server [default: `OPENAI_API_BASE_PATH`, else /v1 for api.openai.com and nothing for others]' -r
complete -c awf -n "__fish_awf_needs_command" -l anthropic-api-base-path -d 'Likewise for Anthropic\'s [default: `ANTHROPIC_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_needs_command" -l gemini-api-base-path -d 'Likewise for Gemini\'s [default: `GEMINI_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_needs_command" -l vertex-api-base-path -d 'Likewise for Vertex\'s [default: `VERTEX_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_needs_command" -l openai-api-auth-header -d 'Header in which OpenAI\'s server gets the key [default: `AWF_OPENAI_AUTH_HEADER`, else authorization]' -r
complete -c awf -n "__fish_awf_needs_command" -l anthropic-api-auth-header -d 'Likewise for Anthropic\'s [default: `AWF_ANTHROPIC_AUTH_HEADER`, else x-api-key]' -r
complete -c awf -n "__fish_awf_needs_command" -l openai-base-url-env -d 'Variable with the URL of OpenAI\'s server, https only' -r
complete -c awf -n "__fish_awf_needs_command" -l rate-limit-rpm -d 'Requests a minute to each provider [default: none, 600 if another rate is given]' -r
complete -c awf -n "__fish_awf_needs_command" -l rate-limit-rph -d 'Requests an hour to each provider [default: none, 10000 if another rate is given]' -r
complete -c awf -n "__fish_awf_needs_command" -l rate-limit-bytes-pm -d 'Bytes of requests a minute to each provider [default: none, 52428800 if another rate is given]' -r
complete -c awf -n "__fish_awf_needs_command" -l max-cache-misses -d 'Answers in a row that used nothing of a provider\'s cache, before requests are refused [default: none]' -r
complete -c awf -n "__fish_awf_needs_command" -l max-permission-denied -d 'Answers 401 or 403 of the providers before requests are refused: the key is wrong then [default: none]' -r
complete -c awf -n "__fish_awf_needs_command" -l max-model-multiplier -d 'Weights of models, MODEL:NUMBER separated by commas' -r
complete -c awf -n "__fish_awf_needs_command" -l max-model-multiplier-cap -d 'Refuse models whose weight is more than this' -r
complete -c awf -n "__fish_awf_needs_command" -s v -l mount -d 'Show a file or directory of this machine in the sandbox, `rw` unless `ro` is said; `$NAME` and `${NAME}` are replaced. May be repeated' -r
complete -c awf -n "__fish_awf_needs_command" -l container-workdir -d 'Directory in which the command starts [default: the workspace]' -r
complete -c awf -n "__fish_awf_needs_command" -l work-dir -d 'Directory for the files of this run, hidden from the command [default: a new one for each run in the directory for temporary files]' -r
complete -c awf -n "__fish_awf_needs_command" -l memory-limit -d 'Memory for the command, without swap: a number and b, k, m or g [default: 6g]' -r
complete -c awf -n "__fish_awf_needs_command" -l cpu-limit -d 'Processors for the command, such as 1.5 [default: all]' -r
complete -c awf -n "__fish_awf_needs_command" -l pids-limit -d 'Number of processes and threads for the command [default: 1000]' -r
complete -c awf -n "__fish_awf_needs_command" -l agent-timeout -d 'Stop the command after so many minutes and end with code 124 [default: never]' -r
complete -c awf -n "__fish_awf_needs_command" -l config -d 'File with values for options that are not on the command line, in YAML or JSON; - is standard input. See `awf config schema`' -r
complete -c awf -n "__fish_awf_needs_command" -l runtime -d 'What the sandbox is made with: auto, docker or native [default: auto]' -r
complete -c awf -n "__fish_awf_needs_command" -l profile -d 'How much of the kernel must stand behind the sandbox: full (with LSM programs, or no run), hardened (without them) or auto, the most that the kernel gives [default: auto]' -r
complete -c awf -n "__fish_awf_needs_command" -l docker-host -d 'Docker daemon on this machine: `unix:///PATH` or `tcp://127.0.0.1:PORT` [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]' -r
complete -c awf -n "__fish_awf_needs_command" -l agent-image -d 'Image of the agent\'s container: default, act, or a reference such as ubuntu:24.04 [default: default]' -r
complete -c awf -n "__fish_awf_needs_command" -l image-registry -d 'Where images are pulled from if they are not there: what stands before their names' -r
complete -c awf -n "__fish_awf_needs_command" -l image-tag -d 'Tag of awf\'s images, with digests of single ones if wanted [default: this version]' -r
complete -c awf -n "__fish_awf_needs_command" -l log-level -d 'What awf says on standard error: debug, info, warn or error [default: info]' -r
complete -c awf -n "__fish_awf_needs_command" -l proxy-logs-dir -d 'Directory for the proxy\'s logs [default: squid-logs in the work directory]' -r
complete -c awf -n "__fish_awf_needs_command" -l audit-dir -d 'Directory for what was decided and done [default: `AWF_AUDIT_DIR`, else audit in the work directory]' -r
complete -c awf -n "__fish_awf_needs_command" -l session-state-dir -d 'Directory for the state of the agent\'s session, shown to it as `~/.copilot/session-state` [default: `AWF_SESSION_STATE_DIR`, else none]' -r
complete -c awf -n "__fish_awf_needs_command" -l record-key -d 'Sign that chain with the Ed25519 private key (PEM, PKCS#8) in this file, which the command does not see; with --record-chain or without' -r
complete -c awf -n "__fish_awf_needs_command" -l otlp-endpoint -d 'Send the record, when it is complete, to this collector of OpenTelemetry logs, an allowed domain; the variable `OTEL_EXPORTER_OTLP_HEADERS` may hold its credentials' -r
complete -c awf -n "__fish_awf_needs_command" -l audit-mode -d 'Let through what is not allowed and not blocked, too, and record it, to learn what a command needs (`awf learn`): names of the internet on ports 80 and 443. Everything else stays refused. Only for commands that are trusted'
complete -c awf -n "__fish_awf_needs_command" -l ssl-bump -d 'Decrypt TLS with an authority of this run\'s own, so that requests are judged and recorded, not only names'
complete -c awf -n "__fish_awf_needs_command" -l enable-dlp -d 'Refuse requests whose URL holds what looks like a credential; with --ssl-bump also over TLS'
complete -c awf -n "__fish_awf_needs_command" -l enable-host-access -d 'Let the command reach ports 80 and 443 of this machine, as `host.docker.internal`'
complete -c awf -n "__fish_awf_needs_command" -l env-all -d 'Pass all variables of the caller on, except credentials and those awf sets'
complete -c awf -n "__fish_awf_needs_command" -l no-rate-limit -d 'No rate, whatever else is said'
complete -c awf -n "__fish_awf_needs_command" -l enable-token-steering -d 'Tell the model in its requests when 80, 90, 95 and 99 percent of a budget or of --agent-timeout are used'
complete -c awf -n "__fish_awf_needs_command" -l tty -d 'Give the command a terminal'
complete -c awf -n "__fish_awf_needs_command" -s b -l build-local -d 'Build awf\'s images on this machine'
complete -c awf -n "__fish_awf_needs_command" -l skip-pull -d 'Pull no image; one that is missing is an error'
complete -c awf -n "__fish_awf_needs_command" -s k -l keep-containers -d 'Leave the sandbox and its files in place after the run'
complete -c awf -n "__fish_awf_needs_command" -l diagnostic-logs -d 'Leave what helps to find a fault in the audit directory if the command fails: messages of the proxy, mounts, state of the containers'
complete -c awf -n "__fish_awf_needs_command" -l record-chain -d 'Let each line of egress.jsonl cover all lines before, so that `awf logs verify` finds what was changed'
complete -c awf -n "__fish_awf_needs_command" -l record-exe-hash -d 'Record the SHA-256 of each executable that tries something; the first attempt of each waits for it'
complete -c awf -n "__fish_awf_needs_command" -l strict-audit -d 'End with exit code 122 if an attempt was judged but is missing in egress.jsonl'
complete -c awf -n "__fish_awf_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_needs_command" -s V -l version -d 'Print version'
complete -c awf -n "__fish_awf_needs_command" -a "plan" -d 'Print everything that a run would do, without privilege and without doing it'
complete -c awf -n "__fish_awf_needs_command" -a "predownload" -d 'Pull or build the images of the Docker runtime, so that no run has to'
complete -c awf -n "__fish_awf_needs_command" -a "config" -d 'Check a configuration file, or print the schema of all'
complete -c awf -n "__fish_awf_needs_command" -a "completions" -d 'Print the script that completes options in a shell'
complete -c awf -n "__fish_awf_needs_command" -a "man" -d 'Print the manual page'
complete -c awf -n "__fish_awf_needs_command" -a "options" -d 'Print the reference of options and keys'
complete -c awf -n "__fish_awf_needs_command" -a "logs" -d 'Show what a run reached and was refused'
complete -c awf -n "__fish_awf_needs_command" -a "why" -d 'Explain why something is allowed or denied: a URL against a policy, or a record'
complete -c awf -n "__fish_awf_needs_command" -a "learn" -d 'Propose the smallest allow list that covers what a run needed'
complete -c awf -n "__fish_awf_needs_command" -a "report" -d 'Write one self-contained HTML page about a run'
complete -c awf -n "__fish_awf_needs_command" -a "ps" -d 'List runs that go on'
complete -c awf -n "__fish_awf_needs_command" -a "kill" -d 'End a run and everything in it'
complete -c awf -n "__fish_awf_needs_command" -a "doctor" -d 'Say what a run needs, whether this machine has it, and the command that helps. Ends with 0 if a run is possible, else with 1'
complete -c awf -n "__fish_awf_needs_command" -a "init" -d 'First process inside the sandbox; started by awf itself'
complete -c awf -n "__fish_awf_needs_command" -a "hold" -d 'First process of the proxy\'s container; started by awf itself'
complete -c awf -n "__fish_awf_needs_command" -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c awf -n "__fish_awf_using_subcommand plan" -s d -l allow-domains -d 'Domains that may be reached, separated by commas: `example.com` with its subdomains, `=example.com` without them, `*.example.com`, `http://` or `https://` before a name for one protocol only. Without any, nothing can be reached' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l allow-domains-file -d 'File with more of them, one or several a line, `#` starts a comment' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l block-domains -d 'Domains that must not be reached, whatever is allowed' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l block-domains-file -d 'File with more of them, in the same form' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l ruleset-file -d 'File with more allowed domains in YAML: `version: 1` and `rules:`, a list of `domain:` with `subdomains:` true or false. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l dns-servers -d 'Name servers that the proxy asks, as addresses separated by commas [default: those of this machine]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l dns-over-https -d 'Let the proxy find names by DNS over HTTPS, at `https://dns.google/dns-query` unless another URL is given' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l upstream-proxy -d 'Proxy through which everything leaves, `http://HOST:PORT`, port 3128 unless given [default: `https_proxy` or `http_proxy`, whose `no_proxy` counts as well]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l allow-urls -d 'With --ssl-bump: URLs that may be asked for, separated by commas, such as `https://github.com/my-org/*`. A host of any of them answers to nothing else' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l allow-host-ports -d 'Ports of this machine that may be reached, too, N or N-M separated by commas, none of them dangerous (SSH, databases and the like). `localhost` in the allowed domains opens this machine with the usual ports of development servers' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l allow-host-service-ports -d 'Ports of this machine that may be reached although they may be dangerous, such as those of a workflow\'s databases' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l topology-attach -d 'Let the command reach the ports that this running container exposes, by its name. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -s e -l env -d 'Set a variable for the command; beats every other source. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l env-file -d 'File with variables, one KEY=VALUE a line, values as they are, `#` starts a comment line' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l exclude-env -d 'Never pass this variable, wherever it comes from. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l openai-api-target -d 'Server that gets the key of `OPENAI_API_KEY` [default: `OPENAI_API_TARGET`, else api.openai.com]. It is added to the allowed domains, like those of the next four' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l anthropic-api-target -d 'Server that gets the key of `ANTHROPIC_API_KEY` [default: `ANTHROPIC_API_TARGET`, else api.anthropic.com]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l copilot-api-target -d 'Server that gets the token of `COPILOT_GITHUB_TOKEN`, or the key of `COPILOT_PROVIDER_API_KEY` [default: `COPILOT_API_TARGET`, else the one that belongs to `GITHUB_SERVER_URL` or `COPILOT_PROVIDER_BASE_URL`]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l gemini-api-target -d 'Server that gets the key of `GEMINI_API_KEY` [default: `GEMINI_API_TARGET`, else generativelanguage.googleapis.com]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l vertex-api-target -d 'Server that gets the key of `GOOGLE_API_KEY` [default: `VERTEX_API_TARGET`, else aiplatform.googleapis.com]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l openai-api-base-path -d 'What goes before the path of each request to OpenAI\'s server [default: `OPENAI_API_BASE_PATH`, else /v1 for api.openai.com and nothing for others]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l anthropic-api-base-path -d 'Likewise for Anthropic\'s [default: `ANTHROPIC_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l gemini-api-base-path -d 'Likewise for Gemini\'s [default: `GEMINI_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l vertex-api-base-path -d 'Likewise for Vertex\'s [default: `VERTEX_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l openai-api-auth-header -d 'Header in which OpenAI\'s server gets the key [default: `AWF_OPENAI_AUTH_HEADER`, else authorization]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l anthropic-api-auth-header -d 'Likewise for Anthropic\'s [default: `AWF_ANTHROPIC_AUTH_HEADER`, else x-api-key]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l openai-base-url-env -d 'Variable with the URL of OpenAI\'s server, https only' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l rate-limit-rpm -d 'Requests a minute to each provider [default: none, 600 if another rate is given]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l rate-limit-rph -d 'Requests an hour to each provider [default: none, 10000 if another rate is given]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l rate-limit-bytes-pm -d 'Bytes of requests a minute to each provider [default: none, 52428800 if another rate is given]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l max-cache-misses -d 'Answers in a row that used nothing of a provider\'s cache, before requests are refused [default: none]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l max-permission-denied -d 'Answers 401 or 403 of the providers before requests are refused: the key is wrong then [default: none]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l max-model-multiplier -d 'Weights of models, MODEL:NUMBER separated by commas' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l max-model-multiplier-cap -d 'Refuse models whose weight is more than this' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -s v -l mount -d 'Show a file or directory of this machine in the sandbox, `rw` unless `ro` is said; `$NAME` and `${NAME}` are replaced. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l container-workdir -d 'Directory in which the command starts [default: the workspace]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l work-dir -d 'Directory for the files of this run, hidden from the command [default: a new one for each run in the directory for temporary files]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l memory-limit -d 'Memory for the command, without swap: a number and b, k, m or g [default: 6g]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l cpu-limit -d 'Processors for the command, such as 1.5 [default: all]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l pids-limit -d 'Number of processes and threads for the command [default: 1000]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l agent-timeout -d 'Stop the command after so many minutes and end with code 124 [default: never]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l config -d 'File with values for options that are not on the command line, in YAML or JSON; - is standard input. See `awf config schema`' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l runtime -d 'What the sandbox is made with: auto, docker or native [default: auto]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l profile -d 'How much of the kernel must stand behind the sandbox: full (with LSM programs, or no run), hardened (without them) or auto, the most that the kernel gives [default: auto]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l docker-host -d 'Docker daemon on this machine: `unix:///PATH` or `tcp://127.0.0.1:PORT` [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l agent-image -d 'Image of the agent\'s container: default, act, or a reference such as ubuntu:24.04 [default: default]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l image-registry -d 'Where images are pulled from if they are not there: what stands before their names' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l image-tag -d 'Tag of awf\'s images, with digests of single ones if wanted [default: this version]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l log-level -d 'What awf says on standard error: debug, info, warn or error [default: info]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l proxy-logs-dir -d 'Directory for the proxy\'s logs [default: squid-logs in the work directory]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l audit-dir -d 'Directory for what was decided and done [default: `AWF_AUDIT_DIR`, else audit in the work directory]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l session-state-dir -d 'Directory for the state of the agent\'s session, shown to it as `~/.copilot/session-state` [default: `AWF_SESSION_STATE_DIR`, else none]' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l record-key -d 'Sign that chain with the Ed25519 private key (PEM, PKCS#8) in this file, which the command does not see; with --record-chain or without' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l otlp-endpoint -d 'Send the record, when it is complete, to this collector of OpenTelemetry logs, an allowed domain; the variable `OTEL_EXPORTER_OTLP_HEADERS` may hold its credentials' -r
complete -c awf -n "__fish_awf_using_subcommand plan" -l audit-mode -d 'Let through what is not allowed and not blocked, too, and record it, to learn what a command needs (`awf learn`): names of the internet on ports 80 and 443. Everything else stays refused. Only for commands that are trusted'
complete -c awf -n "__fish_awf_using_subcommand plan" -l ssl-bump -d 'Decrypt TLS with an authority of this run\'s own, so that requests are judged and recorded, not only names'
complete -c awf -n "__fish_awf_using_subcommand plan" -l enable-dlp -d 'Refuse requests whose URL holds what looks like a credential; with --ssl-bump also over TLS'
complete -c awf -n "__fish_awf_using_subcommand plan" -l enable-host-access -d 'Let the command reach ports 80 and 443 of this machine, as `host.docker.internal`'
complete -c awf -n "__fish_awf_using_subcommand plan" -l env-all -d 'Pass all variables of the caller on, except credentials and those awf sets'
complete -c awf -n "__fish_awf_using_subcommand plan" -l no-rate-limit -d 'No rate, whatever else is said'
complete -c awf -n "__fish_awf_using_subcommand plan" -l enable-token-steering -d 'Tell the model in its requests when 80, 90, 95 and 99 percent of a budget or of --agent-timeout are used'
complete -c awf -n "__fish_awf_using_subcommand plan" -l tty -d 'Give the command a terminal'
complete -c awf -n "__fish_awf_using_subcommand plan" -s b -l build-local -d 'Build awf\'s images on this machine'
complete -c awf -n "__fish_awf_using_subcommand plan" -l skip-pull -d 'Pull no image; one that is missing is an error'
complete -c awf -n "__fish_awf_using_subcommand plan" -s k -l keep-containers -d 'Leave the sandbox and its files in place after the run'
complete -c awf -n "__fish_awf_using_subcommand plan" -l diagnostic-logs -d 'Leave what helps to find a fault in the audit directory if the command fails: messages of the proxy, mounts, state of the containers'
complete -c awf -n "__fish_awf_using_subcommand plan" -l record-chain -d 'Let each line of egress.jsonl cover all lines before, so that `awf logs verify` finds what was changed'
complete -c awf -n "__fish_awf_using_subcommand plan" -l record-exe-hash -d 'Record the SHA-256 of each executable that tries something; the first attempt of each waits for it'
complete -c awf -n "__fish_awf_using_subcommand plan" -l strict-audit -d 'End with exit code 122 if an attempt was judged but is missing in egress.jsonl'
complete -c awf -n "__fish_awf_using_subcommand plan" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand predownload" -s d -l allow-domains -d 'Domains that may be reached, separated by commas: `example.com` with its subdomains, `=example.com` without them, `*.example.com`, `http://` or `https://` before a name for one protocol only. Without any, nothing can be reached' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l allow-domains-file -d 'File with more of them, one or several a line, `#` starts a comment' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l block-domains -d 'Domains that must not be reached, whatever is allowed' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l block-domains-file -d 'File with more of them, in the same form' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l ruleset-file -d 'File with more allowed domains in YAML: `version: 1` and `rules:`, a list of `domain:` with `subdomains:` true or false. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l dns-servers -d 'Name servers that the proxy asks, as addresses separated by commas [default: those of this machine]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l dns-over-https -d 'Let the proxy find names by DNS over HTTPS, at `https://dns.google/dns-query` unless another URL is given' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l upstream-proxy -d 'Proxy through which everything leaves, `http://HOST:PORT`, port 3128 unless given [default: `https_proxy` or `http_proxy`, whose `no_proxy` counts as well]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l allow-urls -d 'With --ssl-bump: URLs that may be asked for, separated by commas, such as `https://github.com/my-org/*`. A host of any of them answers to nothing else' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l allow-host-ports -d 'Ports of this machine that may be reached, too, N or N-M separated by commas, none of them dangerous (SSH, databases and the like). `localhost` in the allowed domains opens this machine with the usual ports of development servers' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l allow-host-service-ports -d 'Ports of this machine that may be reached although they may be dangerous, such as those of a workflow\'s databases' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l topology-attach -d 'Let the command reach the ports that this running container exposes, by its name. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -s e -l env -d 'Set a variable for the command; beats every other source. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l env-file -d 'File with variables, one KEY=VALUE a line, values as they are, `#` starts a comment line' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l exclude-env -d 'Never pass this variable, wherever it comes from. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l openai-api-target -d 'Server that gets the key of `OPENAI_API_KEY` [default: `OPENAI_API_TARGET`, else api.openai.com]. It is added to the allowed domains, like those of the next four' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l anthropic-api-target -d 'Server that gets the key of `ANTHROPIC_API_KEY` [default: `ANTHROPIC_API_TARGET`, else api.anthropic.com]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l copilot-api-target -d 'Server that gets the token of `COPILOT_GITHUB_TOKEN`, or the key of `COPILOT_PROVIDER_API_KEY` [default: `COPILOT_API_TARGET`, else the one that belongs to `GITHUB_SERVER_URL` or `COPILOT_PROVIDER_BASE_URL`]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l gemini-api-target -d 'Server that gets the key of `GEMINI_API_KEY` [default: `GEMINI_API_TARGET`, else generativelanguage.googleapis.com]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l vertex-api-target -d 'Server that gets the key of `GOOGLE_API_KEY` [default: `VERTEX_API_TARGET`, else aiplatform.googleapis.com]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l openai-api-base-path -d 'What goes before the path of each request to OpenAI\'s server [default: `OPENAI_API_BASE_PATH`, else /v1 for api.openai.com and nothing for others]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l anthropic-api-base-path -d 'Likewise for Anthropic\'s [default: `ANTHROPIC_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l gemini-api-base-path -d 'Likewise for Gemini\'s [default: `GEMINI_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l vertex-api-base-path -d 'Likewise for Vertex\'s [default: `VERTEX_API_BASE_PATH`, else nothing]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l openai-api-auth-header -d 'Header in which OpenAI\'s server gets the key [default: `AWF_OPENAI_AUTH_HEADER`, else authorization]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l anthropic-api-auth-header -d 'Likewise for Anthropic\'s [default: `AWF_ANTHROPIC_AUTH_HEADER`, else x-api-key]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l openai-base-url-env -d 'Variable with the URL of OpenAI\'s server, https only' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l rate-limit-rpm -d 'Requests a minute to each provider [default: none, 600 if another rate is given]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l rate-limit-rph -d 'Requests an hour to each provider [default: none, 10000 if another rate is given]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l rate-limit-bytes-pm -d 'Bytes of requests a minute to each provider [default: none, 52428800 if another rate is given]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l max-cache-misses -d 'Answers in a row that used nothing of a provider\'s cache, before requests are refused [default: none]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l max-permission-denied -d 'Answers 401 or 403 of the providers before requests are refused: the key is wrong then [default: none]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l max-model-multiplier -d 'Weights of models, MODEL:NUMBER separated by commas' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l max-model-multiplier-cap -d 'Refuse models whose weight is more than this' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -s v -l mount -d 'Show a file or directory of this machine in the sandbox, `rw` unless `ro` is said; `$NAME` and `${NAME}` are replaced. May be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l container-workdir -d 'Directory in which the command starts [default: the workspace]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l work-dir -d 'Directory for the files of this run, hidden from the command [default: a new one for each run in the directory for temporary files]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l memory-limit -d 'Memory for the command, without swap: a number and b, k, m or g [default: 6g]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l cpu-limit -d 'Processors for the command, such as 1.5 [default: all]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l pids-limit -d 'Number of processes and threads for the command [default: 1000]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l agent-timeout -d 'Stop the command after so many minutes and end with code 124 [default: never]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l config -d 'File with values for options that are not on the command line, in YAML or JSON; - is standard input. See `awf config schema`' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l runtime -d 'What the sandbox is made with: auto, docker or native [default: auto]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l profile -d 'How much of the kernel must stand behind the sandbox: full (with LSM programs, or no run), hardened (without them) or auto, the most that the kernel gives [default: auto]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l docker-host -d 'Docker daemon on this machine: `unix:///PATH` or `tcp://127.0.0.1:PORT` [default: `DOCKER_HOST`, else `unix:///var/run/docker.sock`]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l agent-image -d 'Image of the agent\'s container: default, act, or a reference such as ubuntu:24.04 [default: default]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l image-registry -d 'Where images are pulled from if they are not there: what stands before their names' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l image-tag -d 'Tag of awf\'s images, with digests of single ones if wanted [default: this version]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l log-level -d 'What awf says on standard error: debug, info, warn or error [default: info]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l proxy-logs-dir -d 'Directory for the proxy\'s logs [default: squid-logs in the work directory]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l audit-dir -d 'Directory for what was decided and done [default: `AWF_AUDIT_DIR`, else audit in the work directory]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l session-state-dir -d 'Directory for the state of the agent\'s session, shown to it as `~/.copilot/session-state` [default: `AWF_SESSION_STATE_DIR`, else none]' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l record-key -d 'Sign that chain with the Ed25519 private key (PEM, PKCS#8) in this file, which the command does not see; with --record-chain or without' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l otlp-endpoint -d 'Send the record, when it is complete, to this collector of OpenTelemetry logs, an allowed domain; the variable `OTEL_EXPORTER_OTLP_HEADERS` may hold its credentials' -r
complete -c awf -n "__fish_awf_using_subcommand predownload" -l audit-mode -d 'Let through what is not allowed and not blocked, too, and record it, to learn what a command needs (`awf learn`): names of the internet on ports 80 and 443. Everything else stays refused. Only for commands that are trusted'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l ssl-bump -d 'Decrypt TLS with an authority of this run\'s own, so that requests are judged and recorded, not only names'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l enable-dlp -d 'Refuse requests whose URL holds what looks like a credential; with --ssl-bump also over TLS'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l enable-host-access -d 'Let the command reach ports 80 and 443 of this machine, as `host.docker.internal`'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l env-all -d 'Pass all variables of the caller on, except credentials and those awf sets'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l no-rate-limit -d 'No rate, whatever else is said'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l enable-token-steering -d 'Tell the model in its requests when 80, 90, 95 and 99 percent of a budget or of --agent-timeout are used'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l tty -d 'Give the command a terminal'
complete -c awf -n "__fish_awf_using_subcommand predownload" -s b -l build-local -d 'Build awf\'s images on this machine'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l skip-pull -d 'Pull no image; one that is missing is an error'
complete -c awf -n "__fish_awf_using_subcommand predownload" -s k -l keep-containers -d 'Leave the sandbox and its files in place after the run'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l diagnostic-logs -d 'Leave what helps to find a fault in the audit directory if the command fails: messages of the proxy, mounts, state of the containers'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l record-chain -d 'Let each line of egress.jsonl cover all lines before, so that `awf logs verify` finds what was changed'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l record-exe-hash -d 'Record the SHA-256 of each executable that tries something; the first attempt of each waits for it'
complete -c awf -n "__fish_awf_using_subcommand predownload" -l strict-audit -d 'End with exit code 122 if an attempt was judged but is missing in egress.jsonl'
complete -c awf -n "__fish_awf_using_subcommand predownload" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -f -a "check" -d 'Say everything that is wrong with a configuration file, or nothing'
complete -c awf -n "__fish_awf_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -f -a "schema" -d 'Print the JSON Schema of configuration files'
complete -c awf -n "__fish_awf_using_subcommand config; and not __fish_seen_subcommand_from check schema help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c awf -n "__fish_awf_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand config; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "check" -d 'Say everything that is wrong with a configuration file, or nothing'
complete -c awf -n "__fish_awf_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema of configuration files'
complete -c awf -n "__fish_awf_using_subcommand config; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c awf -n "__fish_awf_using_subcommand completions" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand man" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand options" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -l format -d 'How to print a line' -r -f -a "raw\t'As they are'
pretty\t'For people'
json\t'One JSON object for each'"
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -l source -d 'Where the logs are: a directory, a file, a run, or running' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -s f -l follow -d 'Go on while lines are added'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -l list -d 'List the places where logs were found, and stop'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -l with-pid -d 'Name the process behind each line'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "stats" -d 'Count requests by domain and rule'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "summary" -d 'The same as Markdown, for the summary of a workflow'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "audit" -d 'Show which rule decided each request'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "egress" -d 'Show the record of every attempt, with the process behind it'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "verify" -d 'Check that a record is whole, and by whom it was signed'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "export" -d 'Give the record in the format of another tool'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "schema" -d 'Print the JSON Schema of the record'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "rules" -d 'Print what the rules of the record mean, and what to do about each'
complete -c awf -n "__fish_awf_using_subcommand logs; and not __fish_seen_subcommand_from stats summary audit egress verify export schema rules help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from stats" -l format -d 'How to print them' -r -f -a "json\t'For programs'
markdown\t'For the summary of a workflow'
pretty\t'For people'"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from stats" -l source -d 'Where the logs are: a directory, a file, a run, or running' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from summary" -l format -d 'How to print it' -r -f -a "json\t'For programs'
markdown\t'For the summary of a workflow'
pretty\t'For people'"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from summary" -l source -d 'Where the logs are: a directory, a file, a run, or running' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from summary" -l step-summary -d 'Append it to the summary of the GitHub step, too, if there is one'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from summary" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from audit" -l format -d 'How to print it' -r -f -a "json\t'For programs'
markdown\t'For the summary of a workflow'
pretty\t'For people'"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from audit" -l source -d 'Where the logs are: a directory, a file, a run, or running' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from audit" -l rule -d 'Only what this rule decided' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from audit" -l domain -d 'Only domains with this text in them' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from audit" -l decision -d 'Only what was allowed, denied, or failed' -r -f -a "allowed\t'It was let through'
denied\t'It was refused'
error\t'It was let through, but not answered'"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from audit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -l format -d 'How to print a line' -r -f -a "raw\t'As they are'
pretty\t'For people'
json\t'One JSON object for each'"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -l source -d 'Where the record is: a directory, a file, a run, or running' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -l verdict -d 'Only attempts with this verdict: allow, deny or error' -r -f -a "allow\t''
deny\t''
error\t''"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -l rule -d 'Only what this rule decided' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -l domain -d 'Only names and addresses with this text in them' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -l process -d 'Only processes with this id, task name or executable, or with such an ancestor' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -s f -l follow -d 'Go on while lines are added; without a source, of all runs'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from egress" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from verify" -l source -d 'Where the record is: a directory, a file, or a run' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from verify" -l public-key -d 'Ed25519 public key (PEM) by which it must be signed' -r -F
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from export" -l format -d 'For what' -r -f -a "otlp\t'OpenTelemetry logs'
ocsf\t'OCSF network activity'
sarif\t'SARIF of what was refused'
prometheus\t'Prometheus text of the final counters'"
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from export" -l source -d 'Where the record is: a directory, a file, or a run' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from export" -l run -d 'Id of the run, where several left their lines in one file (default: the last)' -r
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from export" -s o -l output -d 'File to write to instead of standard output' -r -F
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from schema" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from rules" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "stats" -d 'Count requests by domain and rule'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "summary" -d 'The same as Markdown, for the summary of a workflow'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "audit" -d 'Show which rule decided each request'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "egress" -d 'Show the record of every attempt, with the process behind it'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "verify" -d 'Check that a record is whole, and by whom it was signed'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "export" -d 'Give the record in the format of another tool'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "schema" -d 'Print the JSON Schema of the record'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "rules" -d 'Print what the rules of the record mean, and what to do about each'
complete -c awf -n "__fish_awf_using_subcommand logs; and __fish_seen_subcommand_from help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c awf -n "__fish_awf_using_subcommand why" -s d -l allow-domains -d 'Allowed domains, separated by commas, as for a run; the same is true of the next ones' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l allow-domains-file -d 'File with more of them' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l block-domains -d 'Blocked domains' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l block-domains-file -d 'File with more of them' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l ruleset-file -d 'Ruleset with more allowed domains; may be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l allow-host-ports -d 'More ports of this machine' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l allow-host-service-ports -d 'Ports of this machine that may be dangerous' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l config -d 'Configuration file with the policy' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l line -d 'Number of the record\'s line, from 1; without it, the last one that was refused' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l source -d 'Where record and policy are: a directory, a file, or a run' -r
complete -c awf -n "__fish_awf_using_subcommand why" -l enable-host-access -d 'Ports 80 and 443 of this machine are open'
complete -c awf -n "__fish_awf_using_subcommand why" -l audit-mode -d 'Audit mode'
complete -c awf -n "__fish_awf_using_subcommand why" -l json -d 'As JSON'
complete -c awf -n "__fish_awf_using_subcommand why" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand learn" -l source -d 'Where records are: directories, files or runs; may be repeated' -r
complete -c awf -n "__fish_awf_using_subcommand learn" -l format -d 'How to print the list' -r -f -a "pretty\t'For people, with evidence'
list\t'Value of --allow-domains'
ruleset\t'Ruleset file for --ruleset-file'
json\t'For programs'"
complete -c awf -n "__fish_awf_using_subcommand learn" -l against -d 'Compare with this list: a file of domains, a ruleset, or a comma-separated list' -r
complete -c awf -n "__fish_awf_using_subcommand learn" -l fold -d 'Fold so many names below one domain, or more, into one entry; never at a public suffix such as co.uk or github.io' -r
complete -c awf -n "__fish_awf_using_subcommand learn" -l denied -d 'Count names as needed that were refused, or that only audit mode let through'
complete -c awf -n "__fish_awf_using_subcommand learn" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c awf -n "__fish_awf_using_subcommand report" -l source -d 'Where the record is: a directory, a file, or a run' -r
complete -c awf -n "__fish_awf_using_subcommand report" -l run -d 'Id of the run, where several left their lines in one file (default: the last)' -r
complete -c awf -n "__fish_awf_using_subcommand report" -s o -l output -d 'File to write to; without it, standard output' -r -F
complete -c awf -n "__fish_awf_using_subcommand report" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand ps" -l json -d 'As JSON'
complete -c awf -n "__fish_awf_using_subcommand ps" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand kill" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand doctor" -l json -d 'As JSON'
complete -c awf -n "__fish_awf_using_subcommand doctor" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand init" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand hold" -s h -l help -d 'Print help'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "plan" -d 'Print everything that a run would do, without privilege and without doing it'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "predownload" -d 'Pull or build the images of the Docker runtime, so that no run has to'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "config" -d 'Check a configuration file, or print the schema of all'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "completions" -d 'Print the script that completes options in a shell'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "man" -d 'Print the manual page'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "options" -d 'Print the reference of options and keys'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "logs" -d 'Show what a run reached and was refused'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "why" -d 'Explain why something is allowed or denied: a URL against a policy, or a record'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "learn" -d 'Propose the smallest allow list that covers what a run needed'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "report" -d 'Write one self-contained HTML page about a run'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "ps" -d 'List runs that go on'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "kill" -d 'End a run and everything in it'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "doctor" -d 'Say what a run needs, whether this machine has it, and the command that helps. Ends with 0 if a run is possible, else with 1'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "init" -d 'First process inside the sandbox; started by awf itself'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "hold" -d 'First process of the proxy\'s container; started by awf itself'
complete -c awf -n "__fish_awf_using_subcommand help; and not __fish_seen_subcommand_from plan predownload config completions man options logs why learn report ps kill doctor init hold help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "check" -d 'Say everything that is wrong with a configuration file, or nothing'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from config" -f -a "schema" -d 'Print the JSON Schema of configuration files'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "stats" -d 'Count requests by domain and rule'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "summary" -d 'The same as Markdown, for the summary of a workflow'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "audit" -d 'Show which rule decided each request'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "egress" -d 'Show the record of every attempt, with the process behind it'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "verify" -d 'Check that a record is whole, and by whom it was signed'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "export" -d 'Give the record in the format of another tool'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "schema" -d 'Print the JSON Schema of the record'
complete -c awf -n "__fish_awf_using_subcommand help; and __fish_seen_subcommand_from logs" -f -a "rules" -d 'Print what the rules of the record mean, and what to do about each'
