//! The examples of `--help`, one text a command.

pub const TERRACE: &str = "\
Examples:
  terrace check -c terrace.toml          all faults of the configuration, applied nothing
  terrace run -c terrace.toml            the daemon
  terrace plan                           where each task runs, and why not higher
  terrace services                       backends with their packets, bytes, connections
  terrace explain tcp 10.0.0.1:4000 10.96.0.10:80

Exit codes:
  0  success
  1  the work failed
  2  the arguments are wrong
  3  the configuration or a manifest is refused
  4  no daemon answers on the control socket
  5  not permitted: root or the group terrace is needed";

pub const RUN: &str = "\
Examples:
  terrace run
  terrace run -c ./terrace.toml --log debug
  systemctl start terrace                the same, as a service

Exit codes: 0 after SIGTERM or SIGINT, 1 failed, 3 configuration refused, 5 not root.";

pub const CHECK: &str = "\
Examples:
  terrace check                          the configuration and its manifests
  terrace check -c ./terrace.toml
  terrace check ./manifests web.yaml     other manifests than the configured ones
  terrace check --json | jq '.faults[]'

Exit codes: 0 all is right, 3 something is refused.";

pub const NIC: &str = "\
Examples:
  terrace nic                            all interfaces, nothing is tried
  terrace nic eth0 --mode preload        also loads programs, as root
  terrace nic eth1 --mode active --allow attach,ntuple
  terrace nic --json | jq '.interfaces[] | {name, best}'
  terrace nic eth0 --watch               again whenever something changes
  terrace nic --record host.json         what the kernel said, to pass on
  terrace nic --replay host.json         the same report elsewhere

Exit codes: 0 reported, 1 failed, 3 recording or profiles refused.";

pub const PLAN: &str = "\
Examples:
  terrace plan
  terrace plan --offline -c ./terrace.toml
  terrace plan --nic report.json         for the machine that the report is of
  terrace plan --json | jq '.placements[] | select(.tier != \"xdp-native\")'";

pub const TUNE: &str = "\
Examples:
  terrace tune --plan                    what would be done; changes nothing
  terrace tune --apply --confirm 60      does it, for 60 seconds
  terrace tune --confirm-now             keeps it
  terrace tune --take-back               does not
  terrace tune eth0 --apply --all --confirm 120

Exit codes: 0 done, 1 a step failed and all is taken back, 3 configuration refused.";

pub const STATUS: &str = "\
Examples:
  terrace status
  terrace status --json | jq .manifests.refused

Exit codes: 0 the daemon answers, 4 it does not.";

pub const SERVICES: &str = "\
Examples:
  terrace services
  terrace services default/web
  terrace services --json | jq '.[].backends[] | {address, traffic}'";

pub const POLICY: &str = "\
Examples:
  terrace policy
  terrace policy default/deny-all
  terrace policy --json | jq '.[].rules[]'";

pub const IDENTITIES: &str = "\
Examples:
  terrace identities
  terrace identities app=web
  terrace identities 10.1.0.5";

pub const FLOWS: &str = "\
Examples:
  terrace flows --service default/web --state established
  terrace flows --from 10.0.0.0/8 --tier tc
  terrace flows --limit 0 --json | jq '.flows | length'";

pub const REQUESTS: &str = "\
Examples:
  terrace requests                       the latest 100
  terrace requests --follow --service default/web
  terrace requests --status 5xx --limit 0
  terrace requests --follow --verdict denied --json | jq '.path'";

pub const REASONS: &str = "\
Examples:
  terrace reasons
  terrace reasons --class drop --iface eth0
  terrace reasons --watch                what happens now, second by second
  terrace reasons --all                  with the meaning of each reason";

pub const SOCKETS: &str = "\
Examples:
  terrace sockets
  terrace sockets --json | jq '.sockets[] | {local, remote, backend}'";

pub const EXPLAIN: &str = "\
Examples:
  terrace explain --connect 10.96.0.10:80
  terrace explain --connect 10.1.0.2:80 --netns web --uid 1337
  terrace explain tcp 10.0.0.1:4000 10.96.0.10:80
  terrace explain tcp 10.0.0.1:4000 10.96.0.10:80 --iface eth0 --flags A
  terrace explain udp '[2001:db8::1]:4000' '[fd00:96::a]:53'
  terrace explain icmp 10.0.0.1 10.96.0.10
  terrace explain --pcap broken.pcap --iface eth0 --limit 3";

pub const RELOAD: &str = "\
Examples:
  terrace reload
  terrace reload && terrace services

Exit codes: 0 applied, 3 refused (the state before it goes on serving), 4 no daemon.";

pub const DETACH: &str = "\
Examples:
  systemctl stop terrace && terrace detach
  terrace detach --dry-run               what there is
  terrace detach --yes                   without a question, for scripts

Exit codes: 0 nothing is left, 1 something is left or the daemon runs, 5 not root.";

pub const SHORTCUT: &str = "\
Examples:
  terrace shortcut            whether it is in use, why, and the self-test
  terrace shortcut off        new data takes the stack; connections go on
  terrace shortcut on --json";

pub const MOVE: &str = "\
Examples:
  terrace move steer eth0 tc             XDP leaves eth0; its packets are served in tc
  terrace move steer eth0 xdp-native     back, or to a tier that the planner did not choose
  terrace move steer eth0 auto           the planner decides again
  terrace move shortcut host tc          the same as `terrace shortcut off`

Tasks that run in one program (prefilter and steer of an uplink) move together.
Exit codes: 0 it is there, 3 it can't be had.";

pub const VERSION: &str = "\
Examples:
  terrace version
  terrace version --json";

pub const COMPLETIONS: &str = "\
Examples:
  terrace completions bash > /usr/share/bash-completion/completions/terrace
  terrace completions zsh > /usr/share/zsh/vendor-completions/_terrace
  terrace completions fish > ~/.config/fish/completions/terrace.fish";

pub const MAN: &str = "\
Examples:
  terrace man /usr/local/share/man/man1
  terrace man ./man && man ./man/terrace-explain.1";
