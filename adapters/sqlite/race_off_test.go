//go:build !race

package sqlite

// rowsInPlans is how many rows each large table has.
const rowsInPlans = 100_000
