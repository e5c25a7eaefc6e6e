package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lbshipd/lbshipd/admin/auth"
)

// Where goroutines are is told to admins of the Unix socket, and to nobody else.
func TestGoroutinesAreForTheSocket(t *testing.T) {
	for _, c := range []struct {
		who    *auth.Identity
		status int
	}{
		{nil, http.StatusForbidden},
		{&auth.Identity{Name: "root", Via: "socket", Role: auth.Admin}, http.StatusOK},
		{&auth.Identity{Name: "me", Via: "token", Role: auth.Admin}, http.StatusForbidden},
		{&auth.Identity{Name: "me", Via: "socket", Role: auth.Editor}, http.StatusForbidden},
	} {
		r := httptest.NewRequest(http.MethodGet, goroutinesPath, nil)
		if c.who != nil {
			r = r.WithContext(auth.With(r.Context(), *c.who))
		}
		w := httptest.NewRecorder()
		goroutines(w, r)
		if w.Code != c.status {
			t.Errorf("%+v: %d, want %d", c.who, w.Code, c.status)
		}
		if told := strings.Contains(w.Body.String(), "TestGoroutinesAreForTheSocket"); told != (c.status == http.StatusOK) {
			t.Errorf("%+v: goroutines told: %v", c.who, told)
		}
	}
	for _, open := range Open() {
		if strings.HasPrefix(goroutinesPath, open) {
			t.Errorf("%s is open to everybody as %s", goroutinesPath, open)
		}
	}
}
