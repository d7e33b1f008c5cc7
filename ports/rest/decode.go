package rest

import "github.com/ordinavo/webhooks/domain/problem"

func parseDecodeError(string) (problem.Code, string, string, bool) { return "", "", "", false }
