package topics

// Each searches by key or index and sorts no rows; a test checks the plans.
const (
	// selectRecords reads on from the group's offset, oldest first, unless another process has the group's lock. While another process works
	// for the group it does not try the lock, which could keep that process from getting it, unless it is to take over. The batch ends
	// with the record that brings it to $7 bytes.
	selectRecords = `SELECT turn.mine, at.position, at.holder, r.position, r.tenant_id, r.stream, r.version, r.type, r.data, r.metadata, r.recorded_at
FROM (SELECT coalesce(max(position), 0) AS position, coalesce(max(holder), '') AS holder
    FROM consumer_offsets WHERE consumer_group = $2 AND topic = $3) AS at
CROSS JOIN LATERAL (SELECT CASE WHEN at.holder IN ('', $5) OR $6 THEN pg_try_advisory_xact_lock($1) ELSE false END AS mine OFFSET 0) AS turn
LEFT JOIN LATERAL (
    SELECT *, sum(octet_length(data)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(data) AS before FROM records
    WHERE topic = $3 AND position > at.position ORDER BY position LIMIT $4) AS r ON r.before < $7`

	// claim takes the group's lock for the transaction, and checks that the offset is still where the reader found it.
	claim = `pg_try_advisory_xact_lock($1) AND coalesce((SELECT position FROM consumer_offsets WHERE consumer_group = $2 AND topic = $3), 0) = $4`

	// moveOffset moves the group's offset if it is still where the reader found it; beginOffset begins a new group's.
	moveOffset = `UPDATE consumer_offsets SET position = $4, holder = $5 WHERE consumer_group = $1 AND topic = $2 AND position = $3`

	beginOffset = `INSERT INTO consumer_offsets AS o (consumer_group, topic, position, holder) VALUES ($1, $2, $4, $5)
ON CONFLICT (consumer_group, topic) DO UPDATE SET position = excluded.position, holder = excluded.holder WHERE o.position = $3`
)
