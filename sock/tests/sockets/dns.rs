//! A real DNS server behind a service, asked by dig, which takes an answer
//! only from the address that it asked.

use std::process::Command;
use std::time::Duration;

use terrace_abi::Reason;
use terrace_testkit::{Background, Netns, wait};

use crate::services::at;
use crate::stage::Stage;
use crate::tables::{Kind, TCP, UDP};

const NAME: &str = "web.terrace.test";
const PORT: u16 = 5353;

/// dnsmasq as the first backend, IPv4 and IPv6.
fn server(far: &Netns) -> Background {
    let mut command = Command::new("dnsmasq");
    command.args([
        "--keep-in-foreground",
        "--no-daemon",
        "--conf-file=/dev/null",
        "--no-resolv",
        "--no-hosts",
        "--user=root",
        "--bind-interfaces",
        "--listen-address=10.1.0.2,fd01::2",
        &format!("--port={PORT}"),
        &format!("--address=/{NAME}/192.0.2.80"),
    ]);
    let server = far.spawn(command).expect("dnsmasq starts");
    for to in ["10.1.0.2:5353", "[fd01::2]:5353"] {
        let answers = wait::port(far, at(to), Duration::from_secs(20));
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
