package admin

import (
	"net/http"
	"runtime"

	"github.com/lbshipd/lbshipd/admin/auth"
)

// goroutinesPath is where a support bundle gets them.
const goroutinesPath = "/debug/goroutines"

// maxGoroutines bounds what is told of goroutines, in bytes.
const maxGoroutines = 8 << 20

// goroutines says where each goroutine is, for admins of the Unix socket: what hangs is
// seen there. Heap profiles are not offered: that they could be would cost memory all the time.
func goroutines(w http.ResponseWriter, r *http.Request) {
	who, ok := auth.From(r.Context())
	if !ok || who.Via != "socket" || who.Role < auth.Admin {
		http.Error(w, "only root and the daemon's own user may see this, by the Unix socket", http.StatusForbidden)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(allGoroutines()) // the client may be gone
}

// allGoroutines returns their stacks: no values but numbers and addresses are in them.
func allGoroutines() []byte {
	for size := 64 << 10; ; size *= 2 {
		buf := make([]byte, min(size, maxGoroutines))
		n := runtime.Stack(buf, true)
		if n < len(buf) || size >= maxGoroutines {
			return buf[:n]
		}
	}
}
