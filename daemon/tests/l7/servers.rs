//! Servers that people run, behind one route each.

use std::process::Command;

use terrace_testkit::{Background, wait};

use crate::stage::{PORT, Shape, Stage, urls};

/// Name, program and arguments; `{dir}` is a folder of the server's own.
const SERVERS: [(&str, &[&str], &str); 4] = [
    (
        "python",
        &[
            "python3",
            "-m",
            "http.server",
            "8080",
            "--bind",
            "::",
            "-d",
            "{dir}",
        ],
        "",
    ),
    (
        "haproxy",
        &["haproxy", "-db", "-f", "{dir}/config"],
        HAPROXY,
    ),
    ("node", &["node", "{dir}/config"], NODE),
    ("apache", &["apache2", "-X", "-f", "{dir}/config"], APACHE),
];

const HAPROXY: &str = "
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
frontend f
  bind :::8080 v4v6
  http-request return status 200 content-type text/plain string \"hello\\n\"
";
const NODE: &str = "
require('http').createServer((q, s) => s.end('hello\\n')).listen(8080, '::');
";
const APACHE: &str = "
ServerRoot /usr/lib/apache2
LoadModule mpm_event_module modules/mod_mpm_event.so
LoadModule authz_core_module modules/mod_authz_core.so
Listen [::]:8080
ServerName test
PidFile {dir}/pid
ErrorLog /dev/stderr
DocumentRoot {dir}
<Directory {dir}>
  Require all granted
</Directory>
";

#[test]
fn root_every_kind_of_server_answers_through_a_route() {
    let mut stage = Stage::start("l7-servers", &Shape::default());
    for (name, command, config) in SERVERS {
        let dir = tempfile::Builder::new()
            .prefix("terrace-l7-server-")
            .tempdir()
            .unwrap();
        let at = dir.path().display().to_string();
        std::fs::write(dir.path().join("config"), config.replace("{dir}", &at)).unwrap();
        std::fs::create_dir(dir.path().join("a")).unwrap();
        std::fs::write(dir.path().join("a/index.html"), "hello\n").unwrap();
        let all = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(dir.path(), all).unwrap();
        // In the place of pod a's nginx.
        stage.servers[0].process().kill();
        let ns = &stage.nodes()[0].ns;
        let mut program = Command::new(command[0]);
        program.args(command[1..].iter().map(|arg| arg.replace("{dir}", &at)));
        let server: Background = ns.spawn(program).unwrap();
        let address = std::net::SocketAddr::new("127.0.0.1".parse().unwrap(), PORT);
        let up = wait::port(ns, address, wait::PATIENCE);
        assert!(up.is_ok(), "{name}: {up:?}\n{}", server.log());
        for url in urls("/a/index.html") {
            let (done, text) = stage.curl(&[&url, &url]);
            assert!(
                done && text == "hello\nhello\n",
                "{name}: {text}\n{}",
                stage.report()
            );
        }
    }
    stage.wait_empty();
}
