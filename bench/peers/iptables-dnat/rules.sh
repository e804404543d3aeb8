# One rule for each other service, then ours. One transaction, as kube-proxy does it.
set -e
{
	echo '*nat'
	echo ':OURS - [0:0]'
	echo ':SERVICES - [0:0]'
	echo '-A PREROUTING -j SERVICES'
	i=0
	while [ "$i" -lt {rules} ]; do
		echo "-A SERVICES -d 10.111.$((i / 250)).$((i % 250 + 1))/32 -p tcp --dport 80 -j DNAT --to-destination 10.40.0.9:80"
		i=$((i + 1))
	done
	echo '-A SERVICES -d {service}/32 -j OURS'
	echo '-A SERVICES -d {remote}/32 -j OURS'
	echo '-A OURS -d {service}/32 -p tcp --dport {http} -j DNAT --to-destination {backend}:{http_a}'
	echo '-A OURS -d {service}/32 -p tcp --dport {tcp} -j DNAT --to-destination {backend}:{tcp}'
	echo '-A OURS -d {remote}/32 -p udp --dport {udp} -j DNAT --to-destination {remote_backend}:{udp_backend}'
	echo '-A POSTROUTING -d {remote_backend}/32 -j MASQUERADE'
	echo 'COMMIT'
} | iptables-restore
