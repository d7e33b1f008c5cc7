package rest

import "github.com/gofiber/fiber/v2"

// App is the server itself, which tests ask without a connection.
func (a *API) App() *fiber.App { return a.app }
