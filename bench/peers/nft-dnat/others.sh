# An element for each other service.
i=0
while [ "$i" -lt {rules} ]; do
	echo "add element ip bench services { 10.111.$((i / 250)).$((i % 250 + 1)) . tcp . 80 : 10.40.0.9 . 80 }"
	i=$((i + 1))
done | nft -f -
