// Package admin serves the admin port: metrics, health, status and version.
package admin

import (
	"encoding/json"
	"net/http"
	"runtime"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
)

// Endpoint is one path of the admin port: what docs/metrics.md and the
// command line's help list.
type Endpoint struct{ Path, Help string }

// Endpoints lists what the admin port answers to without asking who asks, all
// of it to GET only. The API of docs/rest.md is beside them.
func Endpoints() []Endpoint {
	return []Endpoint{
		{"/metrics", "metrics in the Prometheus text format"},
		{"/-/ready", "200 once a configuration runs, 503 before that and while stopping"},
		{"/-/healthy", "200 while the daemon works, with the reasons if something is not as it should be (a dead target, a refused configuration): those are no reason to restart it"},
		{"/status", "what runs, the ledger and what is at risk as JSON: what `lbshipd status` prints"},
		{"/version", "version, Go version and architecture as JSON"},
	}
}

// Health is the answer of /-/ready and /-/healthy.
type Health struct {
	Status  string   `json:"status"` // "ok", "degraded" or "unavailable"
	Reasons []string `json:"reasons"`
}

// Version is the answer of /version.
type Version struct {
	Version   string `json:"version"`
	GoVersion string `json:"goVersion"`
	Arch      string `json:"arch"`
}

// Open are the paths of Endpoints, for auth.GuardOptions.
func Open() []string { return []string{"/metrics", "/-/", "/status", "/version"} }

// Options is what the admin port serves.
type Options struct {
	Supervisor *pipeline.Supervisor
	Metrics    prometheus.Gatherer
	Version    string
	// Report returns what this node has reported last (collector.Reporter.Current).
	// Nil: it does not report.
	Report func() config.Collector
	// API answers below rest.Prefix; it wants to know who asks (auth.Guard).
	API http.Handler
}

// NewHandler returns the handler of the admin port.
func NewHandler(o Options) http.Handler {
	mux := http.NewServeMux()
	scrape := promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{MaxRequestsInFlight: 4})
	mux.HandleFunc("GET /metrics", func(w http.ResponseWriter, r *http.Request) {
		o.Supervisor.Sample()
		scrape.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /-/ready", func(w http.ResponseWriter, _ *http.Request) { ready(w, o.Supervisor.Status()) })
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { healthy(w, o.Supervisor.Status()) })
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		st := StatusOf(o.Supervisor.Status(), o.Version)
		if o.Report != nil {
			c := o.Report()
			st.Collector = &c
		}
		answer(w, http.StatusOK, st)
	})
	mux.HandleFunc("GET /version", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, Version{o.Version, runtime.Version(), runtime.GOOS + "/" + runtime.GOARCH})
	})
	mux.HandleFunc("GET "+goroutinesPath, goroutines)
	if o.API == nil {
		return mux
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Not by the mux, which would answer a path that is not clean with a redirect.
		if strings.HasPrefix(r.URL.Path, "/api/") {
			o.API.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func ready(w http.ResponseWriter, st pipeline.Status) {
	switch {
	case st.Stopped:
		answer(w, http.StatusServiceUnavailable, Health{"unavailable", []string{"lbshipd is stopping"}})
	case st.Applied.IsZero():
		answer(w, http.StatusServiceUnavailable, Health{"unavailable", append([]string{"no configuration is running"}, st.Reasons()...)})
	default:
		answer(w, http.StatusOK, Health{"ok", []string{}})
	}
}

func healthy(w http.ResponseWriter, st pipeline.Status) {
	h := Health{"ok", st.Reasons()}
	if len(h.Reasons) > 0 {
		h.Status = "degraded"
	} else {
		h.Reasons = []string{}
	}
	answer(w, http.StatusOK, h)
}

func answer(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	// The client may be gone; there is nobody left to tell.
	_ = json.NewEncoder(w).Encode(body)
}
