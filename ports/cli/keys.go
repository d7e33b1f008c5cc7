package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	application "github.com/ordinavo/webhooks/application/access"
	"github.com/ordinavo/webhooks/domain/access"
	"github.com/ordinavo/webhooks/domain/tenant"
	"github.com/ordinavo/webhooks/ports/cli/config"
)

// KeyUser opens the database that the keys are in, and closes it when run returns.
type KeyUser func(ctx context.Context, c config.Config, run func(context.Context, *application.Keys) error) error

// operator is whoever has access to the database itself, and so may do everything.
var operator = access.Key{Name: "operator", Scopes: access.Scopes()}

// wantedKey is what the flags of keys create and keys list say.
type wantedKey struct {
	name, tenant, scopes, subscription, expires string
}

func (w *wantedKey) flags() map[string]*string {
	return map[string]*string{"name": &w.name, "tenant": &w.tenant, "scopes": &w.scopes, "subscription": &w.subscription, "expires": &w.expires}
}

// takeFlags stores the values of a command's own flags and returns the rest: the settings' flags and the other words. An empty value is
// refused: an unset variable in a script must not turn a tenant's key into a platform key.
func takeFlags(args []string, flags map[string]*string) (rest []string, err error) {
	for i := 0; i < len(args); i++ {
		name, value, given := strings.Cut(strings.TrimPrefix(args[i], "--"), "=")
		into, known := flags[name]
		if !known || !strings.HasPrefix(args[i], "--") {
			rest = append(rest, args[i])
			continue
		}
		if i+1 < len(args) && !given && !strings.HasPrefix(args[i+1], "--") {
			i++
			value = args[i]
		}
		switch {
		case value == "":
			return nil, fmt.Errorf("%w: --%s needs a value", errUsage, name)
		case *into != "":
			return nil, fmt.Errorf("%w: --%s is given twice", errUsage, name)
		}
		*into = value
	}
	return rest, nil
}

func keys(ctx context.Context, c config.Config, words []string, w wantedKey, s Streams, do Commands) error {
	switch {
	case len(words) == 1 && words[0] == "create":
		wanted, err := w.key(time.Now())
		if err != nil {
			return err
		}
		return do.Keys(ctx, c, func(ctx context.Context, keys *application.Keys) error { return createKey(ctx, keys, wanted, s) })
	case len(words) == 1 && words[0] == "list":
		return do.Keys(ctx, c, func(ctx context.Context, keys *application.Keys) error {
			return listKeys(ctx, keys, tenant.ID(w.tenant), s.Out)
		})
	case len(words) == 2 && words[0] == "revoke":
		return do.Keys(ctx, c, func(ctx context.Context, keys *application.Keys) error {
			if err := keys.Revoke(ctx, operator, words[1]); err != nil {
				return err
			}
			fmt.Fprintf(s.Out, "%s is revoked: every process refuses it within a second\n", words[1])
			return nil
		})
	case len(words) == 1 && words[0] == "rotate-master":
		counts, err := do.RotateMaster(ctx, c)
		if err != nil {
			return err
		}
		fmt.Fprintf(s.Out, "%d of %d sealed values were sealed anew; all of them open with the newest master key alone\n", counts.Resealed, counts.Values)
		return nil
	}
	return fmt.Errorf("%w: keys takes create, list, revoke ID or rotate-master", errUsage)
}

// key is what is asked for; the application checks it.
func (w wantedKey) key(now time.Time) (access.Key, error) {
	expires, err := parseExpiry(w.expires, now)
	if err != nil {
		return access.Key{}, err
	}
	key := access.Key{Name: w.name, Tenant: tenant.ID(w.tenant), SubscriptionID: w.subscription, ExpiresAt: expires}
	for scope := range strings.SplitSeq(w.scopes, ",") {
		if scope = strings.TrimSpace(scope); scope != "" {
			key.Scopes = append(key.Scopes, access.Scope(scope))
		}
	}
	if w.scopes == "all" {
		key.Scopes = slices.DeleteFunc(access.Scopes(), func(s access.Scope) bool { return s == access.PlatformAdmin && !key.IsPlatform() })
	}
	return key, nil
}

// parseExpiry takes a time, or how long the key is to live; empty means for ever.
func parseExpiry(text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		if !at.After(now) { // the zero time would mean for ever
			return time.Time{}, errors.New("--expires is in the past")
		}
		return at.UTC(), nil
	}
	period, err := config.ParsePeriod(text)
	if err != nil || period <= 0 {
		return time.Time{}, errors.New("--expires must be a period like 90d or 12h, or a time like 2027-01-01T00:00:00Z")
	}
	return now.UTC().Add(period).Truncate(time.Second), nil
}

// createKey writes nothing but the key to the output, so that a script can take it; the rest goes to stderr.
func createKey(ctx context.Context, keys *application.Keys, wanted access.Key, s Streams) error {
	made, text, err := keys.Create(ctx, operator, wanted)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.Err, "%s, %s, for %s, expires %s. It is shown this once:\n", made.ID, made.Name, ownerOf(made), shownTime(made.ExpiresAt))
	fmt.Fprintln(s.Out, text)
	return nil
}

// listed is how many keys are read at once.
const listed = 200

func listKeys(ctx context.Context, keys *application.Keys, owner tenant.ID, out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "ID\tKEY\tNAME\tFOR\tSCOPES\tEXPIRES\tLAST USED\tREVOKED")
	for page := (application.Page{Limit: listed}); ; {
		found, err := keys.List(ctx, operator, owner, page)
		if err != nil {
			return err
		}
		for _, k := range found {
			scopes := strings.Join(texts(k.Scopes), ",")
			fmt.Fprintf(table, "%s\t%s…\t%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Prefix, k.Name, ownerOf(k), scopes, shownTime(k.ExpiresAt), shownTime(k.LastUsedAt), shownTime(k.RevokedAt))
		}
		if len(found) < listed {
			return table.Flush()
		}
		page.After = found[len(found)-1].ID
	}
}

func ownerOf(k access.Key) string {
	switch {
	case k.IsPlatform():
		return "the platform"
	case k.SubscriptionID != "":
		return string(k.Tenant) + "/" + k.SubscriptionID
	default:
		return string(k.Tenant)
	}
}

func shownTime(at time.Time) string {
	if at.IsZero() {
		return "never"
	}
	return at.UTC().Format(time.RFC3339)
}

func texts[S ~string](list []S) []string {
	texts := make([]string, len(list))
	for i, s := range list {
		texts[i] = string(s)
	}
	return texts
}
