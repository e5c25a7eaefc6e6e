// Package auth says who asks something of the admin API and lets in only those who may: tokens, roles,
// peer credentials, listeners with TLS, and limits.
package auth

import (
	"context"
	"fmt"
)

// Role is what somebody may do; each may do all that the lesser ones may.
// The zero Role may do nothing.
type Role int

// The roles, in rising order.
const (
	// Viewer reads.
	Viewer Role = iota + 1
	// Editor also writes sources, targets, formats and services, and tests targets.
	Editor
	// Admin also writes TLS bundles, rolls back and forgets collectors.
	Admin
)

// String returns the role's name: "viewer", "editor", "admin", or "none".
func (r Role) String() string {
	switch r {
	case Viewer:
		return "viewer"
	case Editor:
		return "editor"
	case Admin:
		return "admin"
	}
	return "none"
}

// ParseRole is the reverse of String, but for "none". It also knows
// "system:cluster-admin", which is Admin. Case counts.
func ParseRole(name string) (Role, error) {
	switch name {
	case "viewer":
		return Viewer, nil
	case "editor":
		return Editor, nil
	case "admin", "system:cluster-admin":
		return Admin, nil
	}
	return 0, fmt.Errorf("%.64q is no role: there are admin, editor and viewer", name)
}

// Identity is who asks.
type Identity struct {
	// Name is the token's subject, or the user's name on the Unix socket
	// ("root", or "uid 1000" if it has none). Printable, at most 256 bytes.
	Name string
	// Via is how it was proved: "token" or "socket".
	Via string
	// Role is the highest that was granted.
	Role Role
}

type identityKey struct{}

// With returns a context that carries id.
func With(ctx context.Context, id Identity) context.Context {
	return context.WithValue(ctx, identityKey{}, id)
}

// From returns the identity that With has put into the context. Without one
// nobody has been let in: refuse.
func From(ctx context.Context) (Identity, bool) {
	id, ok := ctx.Value(identityKey{}).(Identity)
	return id, ok
}
