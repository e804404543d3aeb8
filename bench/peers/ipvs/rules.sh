set -e
ip link add ipvs0 type dummy
ip address add {service}/32 dev ipvs0
ip address add {remote}/32 dev ipvs0
sysctl -qw net.ipv4.vs.conntrack=1
ipvsadm -A -t {service}:{http} -s rr
ipvsadm -a -t {service}:{http} -r {backend}:{http_a} -m
ipvsadm -A -t {service}:{tcp} -s rr
ipvsadm -a -t {service}:{tcp} -r {backend}:{tcp} -m
ipvsadm -A -u {remote}:{udp} -s rr
ipvsadm -a -u {remote}:{udp} -r {remote_backend}:{udp_backend} -m
iptables -t nat -A POSTROUTING -m ipvs --vaddr {remote} -j MASQUERADE
