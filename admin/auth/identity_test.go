package auth

import (
	"context"
	"testing"
)

func TestRolesAreInRisingOrder(t *testing.T) {
	var none Role
	if !(none < Viewer && Viewer < Editor && Editor < Admin) {
		t.Errorf("the order is %d %d %d %d", none, Viewer, Editor, Admin)
	}
	for _, r := range []Role{Viewer, Editor, Admin} {
		if got, err := ParseRole(r.String()); err != nil || got != r {
			t.Errorf("ParseRole(%q) = %v, %v", r.String(), got, err)
		}
	}
	if got, err := ParseRole("system:cluster-admin"); err != nil || got != Admin {
		t.Errorf("system:cluster-admin is %v, %v", got, err)
	}
	for _, name := range []string{"", "none", "Admin", "admin ", "root", "system:", "system:masters", "admin\x00"} {
		if got, err := ParseRole(name); err == nil || got != 0 {
			t.Errorf("ParseRole(%q) = %v, %v: want an error and no role", name, got, err)
		}
	}
}

func TestIdentityTravelsWithTheContext(t *testing.T) {
	if id, ok := From(context.Background()); ok || id.Role != 0 {
		t.Errorf("an empty context holds %+v", id)
	}
	want := Identity{Name: "alice", Via: "token", Role: Editor}
	if got, ok := From(With(context.Background(), want)); !ok || got != want {
		t.Errorf("got %+v, %v", got, ok)
	}
}
