package simulation

// Bug is something wrong that is planted to prove that it is found.
type Bug struct {
	Name string
	// Plant is called once a run. What it returns makes of each process's store one with the bug.
	Plant func() func(Store) Store
}
