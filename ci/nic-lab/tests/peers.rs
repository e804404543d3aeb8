//! The peers that the benchmarks compare with work on Debian's kernels: counts,
//! no speed. pktgen never goes into generic XDP: that panics (6.1 to 7.3).

use std::time::Duration;
use terrace_nic_lab::{PROBE, attempt, sh};
use terrace_testkit::{Background, wait};

const LIMIT: Duration = Duration::from_secs(30);

/// A server in a namespace that answers every connection with its own name.
const SERVER: &str = "import socket\n\
s = socket.create_server(('0.0.0.0', 8000))\n\
while True:\n c, _ = s.accept()\n c.sendall(b'NAME')\n c.close()\n";

const CLIENT: &str = "import socket, collections\n\
seen = collections.Counter()\n\
for _ in range(100):\n c = socket.create_connection(('10.99.0.1', 80), 10)\n seen[c.recv(9)] += 1\n c.close()\n\
print(sorted(seen.values()))\n";

#[test]
fn ipvs_spreads_connections_evenly_over_two_servers() {
    sh("modprobe ip_vs && modprobe ip_vs_rr");
    sh("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.vs.conntrack=0; ip addr add 10.99.0.1/32 dev lo");
    let mut servers = Vec::new();
    for n in 1..3 {
        sh(&format!(
            "ip netns add s{n} && ip link add s{n} type veth peer name eth0 netns s{n} && \
             ip addr add 10.98.{n}.1/24 dev s{n} && ip link set s{n} up && \
             ip -n s{n} addr add 10.98.{n}.2/24 dev eth0 && ip -n s{n} link set eth0 up && \
             ip -n s{n} route add default via 10.98.{n}.1"
        ));
        let mut command = std::process::Command::new("nsenter");
        let code = SERVER.replace("NAME", &format!("s{n}"));
        command.args([&format!("--net=/run/netns/s{n}"), "python3", "-c", &code]);
        servers.push(Background::spawn(command).expect("a server"));
        let listens = format!("nsenter --net=/run/netns/s{n} ss -Hltn sport = :8000");
        let up = || (!sh(&listens).trim().is_empty()).then_some(());
        wait::until("a server", LIMIT, up).expect("a server listens");
    }
    sh("ipvsadm -A -t 10.99.0.1:80 -s rr");
    sh("ipvsadm -a -t 10.99.0.1:80 -r 10.98.1.2:8000 -m");
    sh("ipvsadm -a -t 10.99.0.1:80 -r 10.98.2.2:8000 -m");
    std::fs::write("/tmp/client.py", CLIENT).expect("write a client");
    let spread = sh("python3 /tmp/client.py");
    sh("ipvsadm -C");
    assert_eq!(spread.trim(), "[50, 50]");
}

#[test]
fn pktgen_into_native_xdp_is_counted_to_the_last_packet() {
    const PACKETS: u64 = 5000;
    sh("modprobe pktgen");
    // IPv6 would say hello.
    sh("sysctl -qw net.ipv6.conf.default.disable_ipv6=1");
    sh(
        "ip netns add rx && ip netns exec rx sysctl -qw net.ipv6.conf.default.disable_ipv6=1 && ip link add pg0 type veth peer name pg1 netns rx",
    );
    sh("ip link set pg0 up && ip -n rx link set pg1 up");
    sh(&format!(
        "ip -n rx link set dev pg1 xdpdrv object {PROBE} section xdp.count"
    ));
    // A veth sends into its peer's ring only when it has a program itself, or GRO.
    let script = format!(
        "echo rem_device_all > /proc/net/pktgen/kpktgend_0\n\
         echo add_device pg0 > /proc/net/pktgen/kpktgend_0\n\
         for word in 'count {PACKETS}' 'pkt_size 60' 'dst 10.1.1.1' 'dst_mac 02:00:00:00:00:01' 'delay 20000'; do \
         echo \"$word\" > /proc/net/pktgen/pg0; done\n\
         echo start > /proc/net/pktgen/pgctrl\n"
    );
    std::fs::write("/tmp/pktgen.sh", script).expect("write a script");
    sh("sh /tmp/pktgen.sh");
    let sent = sh("cat /proc/net/pktgen/pg0");
    assert!(sent.contains("OK:"), "{sent}");
    let counted = || {
        let dump = sh("bpftool -j map dump name seen");
        dump.contains(&format!("\"value\":{PACKETS}")).then_some(())
    };
    let result = wait::until("every packet counted", LIMIT, counted);
    let dump = sh("bpftool map dump name seen");
    attempt("ip link del pg0; ip netns del rx");
    assert!(result.is_ok(), "{dump}");
}
