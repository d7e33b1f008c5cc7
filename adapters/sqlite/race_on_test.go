//go:build race

package sqlite

// rowsInPlans is few where SQLite, in Go and watched for races, takes minutes to write many. Plans do not
// depend on it, since there are no statistics.
const rowsInPlans = 1000
