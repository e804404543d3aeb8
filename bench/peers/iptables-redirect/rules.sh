# Exclusions first, as a sidecar's init container writes them, then the redirect.
set -e
{
	echo '*nat'
	echo ':OURS - [0:0]'
	echo ':INBOUND - [0:0]'
	echo '-A PREROUTING -p tcp -j INBOUND'
	i=0
	while [ "$i" -lt {rules} ]; do
		echo "-A INBOUND -d 10.111.$((i / 250)).$((i % 250 + 1))/32 -j RETURN"
		i=$((i + 1))
	done
	echo '-A INBOUND -d {service}/32 -j OURS'
	echo '-A OURS -p tcp --dport {http} -j REDIRECT --to-ports {http}'
	echo '-A OURS -p tcp --dport {tcp} -j REDIRECT --to-ports {tcp}'
	echo 'COMMIT'
} | iptables-restore
