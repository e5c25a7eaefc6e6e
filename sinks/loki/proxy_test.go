package loki

import (
	"compress/gzip"
	"io"
	"net/http"
	"testing"

	"github.com/grafana/loki/pkg/push"

	"github.com/lbshipd/lbshipd/config"
)

// A proxy in front of Loki that compresses its answers hides no refusal.
func TestCompressedRefusal(t *testing.T) {
	f := newFake(t)
	f.decide(func(w http.ResponseWriter, _ *http.Request, req *push.PushRequest) bool {
		w.Header().Set("Content-Encoding", "gzip")
		w.WriteHeader(400)
		packed := gzip.NewWriter(w)
		io.WriteString(packed, "2 errors like: entry for stream '{unit=\"a\"}' has timestamp too new: 2037-01-01T00:00:00Z")
		packed.Close()
		return false
	})
	r := newRig(t, config.LokiTarget{URL: f.URL}, nil)
	res := r.send(t, batchOf(numbered("a", 10)...))
	if res.Delivered != 8 || refusedOf(res, "too_new") != 2 || r.requests() != 1 {
		t.Errorf("%+v after %d requests", res, r.requests())
	}
}
