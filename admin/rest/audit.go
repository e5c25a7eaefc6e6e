package rest

import (
	"log/slog"
	"net/http"
	"strings"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/internal/oneline"
)

// audit is what the log is told of a write.
type audit struct {
	action   string
	name     string
	revision int64
	changes  []string // such as "update target/siem"
}

// Limits of one line of the log.
const (
	maxAudited = 100 // changes that are named
	maxMessage = 500 // bytes of an error
)

// made takes what a Write has done.
func (a *audit) made(r config.Revision) {
	a.revision = r.ID
	for i, change := range r.Changes {
		if i == maxAudited {
			a.changes = append(a.changes, "and more")
			return
		}
		a.changes = append(a.changes, change.Action+" "+string(change.Kind)+"/"+change.Name)
	}
}

// record writes a line for every request that could have changed something or sent
// something to a target, whether it was let or not. The contents of
// objects are not in it: the history has the redacted difference.
func (c *call) record(f *failure) {
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return
	}
	attrs := []slog.Attr{slog.String("who", c.who.Name), slog.String("via", c.who.Via), slog.String("role", c.who.Role.String()),
		slog.String("action", c.audit.action)}
	add := func(key, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(key, value))
		}
	}
	add("kind", string(c.kind))
	add("name", c.audit.name)
	if c.audit.action == "" { // no endpoint of ours
		add("method", knownMethod(c.r.Method))
		add("path", cut(c.r.URL.Path))
	}
	attrs = append(attrs, slog.Bool("dryRun", c.query.is(paramDryRun, false)))
	add("changes", strings.Join(c.audit.changes, ", "))
	if c.audit.revision > 0 {
		attrs = append(attrs, slog.Int64("revision", c.audit.revision))
	}
	add("reason", c.query.text(paramReason))
	add("remote", c.r.RemoteAddr)
	add("request", c.id)
	level, result := slog.LevelInfo, "done"
	switch {
	case f != nil && f.status >= http.StatusInternalServerError:
		level, result = slog.LevelWarn, "failed"
	case f != nil:
		level, result = slog.LevelWarn, "refused"
	}
	add("result", result)
	if f != nil {
		attrs = append(attrs, slog.Int("status", f.status), slog.String("error", oneline.Of(f.Message, maxMessage)))
	}
	c.Log.LogAttrs(c.r.Context(), level, "audit", attrs...)
}
