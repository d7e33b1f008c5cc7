package rest

import (
	"context"
	"runtime"

	"github.com/gofiber/fiber/v2"
)

// App is the server itself, which tests ask without a connection.
func (a *API) App() *fiber.App { return a.app }

// Allocated is how many bytes do takes from the heap, including those that it gives back.
func Allocated(do func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	do()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Occupy takes all the room for bodies that are being worked on, until free.
func (a *API) Occupy() (free func()) {
	free, err := a.atWork.begin(context.Background(), maxAtWork)
	if err != nil {
		panic(err)
	}
	return free
}
