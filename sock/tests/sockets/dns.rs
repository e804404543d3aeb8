//! A real DNS server behind a service, asked by dig, which takes an answer
//! only from the address that it asked.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use terrace_abi::Reason;
use terrace_testkit::{Background, Netns, wait};

use crate::proxied::Proxied;
use crate::services::at;
use crate::stage::Stage;
use crate::tables::{Kind, TCP, UDP};

const NAME: &str = "web.terrace.test";
const PORT: u16 = 5353;

/// dnsmasq as the first backend, IPv4 and IPv6.
fn server(far: &Netns) -> Background {
    dnsmasq(far, ["10.1.0.2", "fd01::2"], PORT)
}

fn dnsmasq(far: &Netns, at: [&str; 2], port: u16) -> Background {
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--bind-interfaces",
        &format!("--listen-address={}", at.join(",")),
        &format!("--port={port}"),
        &format!("--address=/{NAME}/192.0.2.80"),
    ]);
    let server = far.spawn(command).expect("dnsmasq starts");
    for host in at {
        let to = SocketAddr::new(host.parse().expect("an address"), port);
        let answers = wait::port(far, to, Duration::from_secs(20));
        answers.unwrap_or_else(|error| panic!("{error}: {}", server.log()));
    }
    server
}

/// What dig prints of the service's answers.
fn dig(stage: &mut Stage, host: &str, more: &str) -> String {
    stage.client.run(&format!(
        "import subprocess\nargs = ['dig', '@{host}', '{NAME}', '+short', '+tries=1', '+time=10'{more}]\n\
         result = subprocess.run(args, capture_output=True, text=True).stdout.strip()"
    ))
}

#[test]
fn root_dig_gets_its_answer_from_the_service_that_it_asked() {
    let rows = [
        ("10.96.0.53", "10.1.0.2", UDP, ""),
        ("10.96.0.53", "10.1.0.2", TCP, ", '+tcp'"),
        ("fd00:96::53", "fd01::2", UDP, ""),
        ("fd00:96::53", "fd01::2", TCP, ", '+tcp'"),
    ];
    let mut stage = Stage::new("dig");
    let _server = server(&stage.far);
    for (host, backend, proto, more) in rows {
        let place = |host: &str, port: u16| match host.contains(':') {
            true => at(&format!("[{host}]:{port}")),
            false => at(&format!("{host}:{port}")),
        };
        let backends = [place(backend, PORT)];
        stage
            .tables
            .service(place(host, 53), Kind::new(proto), &backends);
        let seen = dig(&mut stage, host, more);
        assert_eq!(seen, r#""192.0.2.80""#, "{host}{more}");
    }
    let translated =
        stage.tables.count(Reason::SendService) + stage.tables.count(Reason::ConnectService);
    assert!(translated >= 4, "{translated} of 4 translated");
    println!("4 answers, {translated} translations");
}

/// The answer must come from the server that dig asked, which nobody runs.
#[test]
fn root_digs_question_to_any_server_is_answered_by_the_proxys_dns() {
    let mut p = Proxied::with("digproxy", |w| w.proxy.dns_port = 15_053);
    let _server = dnsmasq(&p.stage.near, ["127.0.0.1", "::1"], 15_053);
    let rows = [
        ("10.1.0.9", ""),
        ("10.1.0.9", ", '+tcp'"),
        ("fd01::9", ""),
        ("fd01::9", ", '+tcp'"),
    ];
    for (host, more) in rows {
        let seen = dig(&mut p.stage, host, more);
        assert_eq!(seen, r#""192.0.2.80""#, "{host}{more}");
    }
    assert!(p.stage.tables.count(Reason::ProxyDns) >= 4);
}
