//! The servers of the played internet: their configuration, their content, their start.
//!
//! Takes the tables of `world` and a lab's state directory; leaves running, recorded processes inside the internet's
//! namespace. Must never start anything in another namespace.

use super::{
    process::{finish, inside, recorded, serve, tool, wait_until},
    publish,
    world::{self, NAMES, Name, Site},
};
use anyhow::{Context as _, Result, ensure};
use std::{
    fs::{self, File},
    io::Write as _,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// How long a server may take until it answers; generous, because machines of contributors are busy.
const START_PATIENCE: Duration = Duration::from_secs(20);
/// Size of `https://files.test/1GiB` in bytes.
pub const DOWNLOAD_BYTES: u64 = 1 << 30;

/// Everything that shapes the servers: when it changes, a lab that is up is out of date.
pub(super) const TEMPLATES: [&str; 7] = [
    include_str!("files/nginx.conf"),
    include_str!("files/vhost.conf"),
    include_str!("files/dnsmasq.conf"),
    include_str!("files/openssl.cnf"),
    include_str!("files/origin.py"),
    include_str!("files/packages.py"),
    include_str!("files/enter.sh"),
];

/// Names of the servers in the `pids` file.
pub(super) const SERVERS: [&str; 5] = ["tcpdump", "dnsmasq", "fcgiwrap", "origin", "nginx"];

/// Writes every file the servers and `files/enter.sh` need.
pub(super) fn write_content(state: &Path) -> Result<()> {
    let [nginx, vhost, dnsmasq, _openssl, origin, packages, enter] = TEMPLATES;
    let place = |text: &str| text.replace("@STATE@", &state.display().to_string());
    let listen = world::DNS_V4.into_iter().chain(world::DNS_V6);
    let listen =
        listen.map(|address| format!("listen-address={address}\n")).collect::<Vec<_>>().concat();
    let resolvers = world::DNS_V4.map(|address| format!("nameserver {address}\n")).concat();
    let bulk = [world::BULK_V4, world::BULK_V6]
        .map(|address| format!("address=/bulk.test/{address}\n"))
        .concat();
    let machine =
        fs::read_to_string("/proc/sys/kernel/hostname").context("read the machine's name")?;
    // The machine's own name stays known: sudo and others look it up and would ask the lab's DNS server.
    let hosts = format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {machine}");
    let nginx = place(nginx).replace("@VHOSTS@", &place(&virtual_hosts()));
    let dnsmasq = place(dnsmasq).replace("@LISTEN@", &listen).replace("@BULK@", &bulk);
    let files = [
        ("nginx.conf", nginx),
        ("vhost.conf", place(vhost)),
        ("dnsmasq.conf", dnsmasq),
        ("origin.py", origin.to_owned()),
        ("origin.json", listeners(state).to_string()),
        ("packages.py", packages.to_owned()),
        ("enter.sh", enter.to_owned()),
        ("names", zone()),
        ("resolv.conf", resolvers),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n".to_owned()),
        ("hosts", hosts),
    ];
    for (name, text) in files {
        fs::write(state.join(name), text).with_context(|| format!("write {name}"))?;
        publish(&state.join(name), 0o644)?;
    }
    fs::create_dir_all(state.join("tmp")).context("create the directory for temporary files")?;
    let sparse = File::create(state.join("sparse-1GiB")).context("create the sparse download")?;
    sparse.set_len(DOWNLOAD_BYTES).context("size the sparse download")
}

/// Makes the package mirrors and the git repository.
pub(super) fn make_content(state: &Path) -> Result<()> {
    finish(tool("python3")?.args([state.join("packages.py"), state.join("www")]))
        .context("make the packages")?;
    make_repository(state).context("make the git repository")
}

/// Starts the sink's capture on the internet's end of the wire.
///
/// `-Q in`: only what the host sent. `-U` and immediate mode: a packet is in the file as soon as it is seen. The
/// buffer (KiB) holds what a second of full load brings while tcpdump waits for a processor.
pub(super) fn start_capture(state: &Path, internet: &Path, wire: &str) -> Result<()> {
    let mut tcpdump = tool("tcpdump")?;
    tcpdump.args(["-i", wire, "-Q", "in", "-U", "--immediate-mode", "-n", "-Z", "root"]);
    tcpdump.args(["-s", "512", "-B", "65536", "-w"]).arg(state.join(super::sink::CAPTURE));
    serve(state, internet, "tcpdump", &tcpdump)?;
    // tcpdump says so after its socket is bound; the file's header alone would not prove it.
    let log = state.join("tcpdump.out");
    wait_until(START_PATIENCE, "wait for tcpdump to listen", || {
        Ok(fs::read_to_string(&log).unwrap_or_default().contains("listening on"))
    })
}

/// Starts all other servers and waits until each answers.
pub(super) fn start(state: &Path, internet: &Path) -> Result<()> {
    let mut dnsmasq = tool("dnsmasq")?;
    dnsmasq
        .arg("--keep-in-foreground")
        .arg(format!("--conf-file={}", state.join("dnsmasq.conf").display()));
    let mut fcgiwrap = tool("fcgiwrap")?;
    fcgiwrap.args(["-c", "4", "-s"]).arg(format!("unix:{}", state.join("git.sock").display()));
    let mut origin = tool("python3")?;
    origin.args(["-I"]).args([state.join("origin.py"), state.join("origin.json")]);
    let mut nginx = tool("nginx")?;
    nginx.args(["-e", "stderr", "-p"]).arg(state).arg("-c").arg(state.join("nginx.conf"));
    serve(state, internet, "dnsmasq", &dnsmasq)?;
    serve(state, internet, "fcgiwrap", &fcgiwrap)?;
    serve(state, internet, "origin", &origin)?;
    serve(state, internet, "nginx", &nginx)?;
    wait_until(START_PATIENCE, "wait for the lab's servers", || {
        let dead: Vec<_> =
            recorded(state).into_iter().filter(|server| !server.is_alive()).collect();
        ensure!(
            dead.is_empty(),
            "{} ended at once",
            dead.iter().map(|server| &*server.name).collect::<Vec<_>>().join(", ")
        );
        Ok(silent(state, internet).is_empty())
    })
    .with_context(|| format!("without an answer: {}", silent(state, internet).join(", ")))
}

/// The servers that do not answer at the moment.
pub(super) fn silent(state: &Path, internet: &Path) -> Vec<&'static str> {
    let answers = |address: &str, port: u16| {
        let target = (address, port).to_socket_addrs().ok().and_then(|mut found| found.next());
        target.is_some_and(|target| connects(internet, target))
    };
    let checks = [
        ("dnsmasq", answers(world::DNS_V4[0], 53)),
        ("fcgiwrap", state.join("git.sock").exists()),
        ("origin", state.join("origin.sock").exists() && answers(world::ATTACKER_V4, 443)),
        ("nginx", answers(world::BULK_V4, 443)),
    ];
    checks.into_iter().filter(|check| !check.1).map(|check| check.0).collect()
}

fn connects(internet: &Path, target: SocketAddr) -> bool {
    let attempt = || Ok(TcpStream::connect_timeout(&target, Duration::from_millis(500))?);
    inside(internet, attempt).is_ok()
}

/// The names in the form of hosts(5), which dnsmasq reads with any number of addresses per name.
fn zone() -> String {
    let pairs =
        NAMES.iter().flat_map(|name| name.addresses.iter().map(|address| (address, name.name)));
    pairs.map(|(address, name)| format!("{address} {name}\n")).collect::<Vec<_>>().concat()
}

/// Server blocks for nginx, one per name with a site.
fn virtual_hosts() -> String {
    let block = |names: &str, body: &str| {
        format!("server {{ server_name {names}; include @STATE@/vhost.conf;\n{body}\n}}\n")
    };
    let page = "location / { default_type text/html; return 200 \"<!doctype html><title>$host</title>\
                <h1>Example Domain</h1><p>lab: $server_name$uri</p>\\n\"; }";
    let of = |name: &Name| match name.site {
        Site::Page => block(name.name, page),
        Site::Mirror => {
            let root = format!("root @STATE@/www/{};", name.name);
            block(
                name.name,
                &format!(
                    "{root} location / {{ try_files $uri $uri/index.json $uri/index.html =404; }}"
                ),
            )
        }
        Site::Git => block(name.name, &git_locations()),
        Site::Archives => {
            block(name.name, "location ~ ^/lab/hello/tar.gz/ { alias @STATE@/hello.tar.gz; }")
        }
        Site::Elsewhere => String::new(),
    };
    NAMES.iter().map(of).chain([block("*.bulk.test", page)]).collect()
}

fn git_locations() -> String {
    let parameters = [
        ("SCRIPT_FILENAME", git_backend()),
        ("GIT_PROJECT_ROOT", "@STATE@/git".to_owned()),
        ("GIT_HTTP_EXPORT_ALL", "1".to_owned()),
        ("GIT_CONFIG_NOSYSTEM", "1".to_owned()),
        ("PATH_INFO", "$uri".to_owned()),
        ("REMOTE_ADDR", "$remote_addr".to_owned()),
        // Any value opens push (git-http-backend(1)): tests want to see a push that must not happen.
        ("REMOTE_USER", "lab".to_owned()),
        ("REQUEST_METHOD", "$request_method".to_owned()),
        ("QUERY_STRING", "$query_string".to_owned()),
        ("CONTENT_TYPE", "$content_type".to_owned()),
        ("CONTENT_LENGTH", "$content_length".to_owned()),
        ("HTTP_CONTENT_ENCODING", "$http_content_encoding".to_owned()),
        ("HTTP_GIT_PROTOCOL", "$http_git_protocol".to_owned()),
    ];
    let parameters =
        parameters.map(|(key, value)| format!("fastcgi_param {key} {value};\n")).concat();
    format!(
        "location ~ ^/lab/hello/archive/(.*)\\.tar\\.gz$ {{ return 302 https://codeload.github.com/lab/hello/tar.gz/$1; }}\n\
         location / {{ fastcgi_pass unix:@STATE@/git.sock;\n{parameters}}}"
    )
}

/// Where git keeps its programs; wrong only when git is missing, which the start has excluded.
fn git_backend() -> String {
    let output = tool("git").and_then(|mut git| Ok(git.arg("--exec-path").output()?));
    let path = output
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    PathBuf::from(path).join("git-http-backend").display().to_string()
}

/// What origin.py listens on.
fn listeners(state: &Path) -> serde_json::Value {
    let everywhere = ["0.0.0.0", "::"].into_iter();
    let everywhere = everywhere.flat_map(|any| world::TCP_ECHO_PORTS.map(|port| (any, port)));
    let attacker =
        [world::ATTACKER_V4, world::ATTACKER_V6].into_iter().flat_map(|at| [(at, 80), (at, 443)]);
    let dns_lookalikes = world::ECHO_ADDRESSES.into_iter().map(|at| (at, 53));
    let tcp: Vec<_> = everywhere.chain(attacker).chain(dns_lookalikes).collect();
    let udp = world::ECHO_ADDRESSES
        .into_iter()
        .flat_map(|at| world::UDP_ECHO_PORTS.map(|port| (at, port)));
    serde_json::json!({
        "http": state.join("origin.sock"),
        "certificate": state.join("leaf.pem"),
        "key": state.join("leaf.key"),
        "tcp": tcp,
        "udp": udp.collect::<Vec<_>>(),
    })
}

/// `github.com/lab/hello.git` with one commit, and its archive. Dates are fixed, so every lab has the same commit id.
fn make_repository(state: &Path) -> Result<()> {
    let repository = state.join("git/lab/hello.git");
    let git = || -> Result<Command> {
        let mut git = tool("git")?;
        // Neither the user's nor the machine's settings (hooks, signing, templates) may matter here.
        git.env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env_remove("GIT_DIR");
        git.arg("--git-dir").arg(&repository).args(["-c", "init.defaultBranch=main"]);
        Ok(git)
    };
    fs::create_dir_all(&repository).context("create its directory")?;
    finish(git()?.args(["init", "--quiet", "--bare"]))?;
    let mut import = git()?.args(["fast-import", "--quiet"]).stdin(Stdio::piped()).spawn()?;
    let stream = "commit refs/heads/main\ncommitter lab <lab@example.com> 1767225600 +0000\ndata 6\nhello\n\
                  M 644 inline README\ndata 19\nhello from the lab\n\n";
    import.stdin.take().context("open the input of git")?.write_all(stream.as_bytes())?;
    ensure!(import.wait()?.success(), "git fast-import failed");
    let archive = state.join("hello.tar.gz");
    finish(
        git()?
            .args(["archive", "--format=tar.gz", "--prefix=hello-main/", "-o"])
            .arg(archive)
            .arg("main"),
    )
}
