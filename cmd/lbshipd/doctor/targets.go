package doctor

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/lbshipd/lbshipd/config"
	"github.com/lbshipd/lbshipd/pipeline"
	"github.com/lbshipd/lbshipd/sinks"
)

// Bounds of testing targets.
const (
	atOnce      = 16 // targets that are tested side by side
	stepTimeout = 5 * time.Second
	silence     = 2 * time.Second // without an answer, after which there is something wrong
)

// checkTargets tests each target up to the point where a record would be sent.
func checkTargets(ctx context.Context, p *patient, r *result) {
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for _, t := range p.targets() {
		wg.Go(func() {
			select {
			case slots <- struct{}{}:
				defer func() { <-slots }()
				p.testTarget(ctx, r, t)
			case <-ctx.Done():
				r.notMade("target %q was not tested", t.Name)
			}
		})
	}
	wg.Wait()
}

func (p *patient) testTarget(ctx context.Context, r *result, t *config.Target) {
	report := pipeline.TestTarget(ctx, hasty(t), p.cfg.TLSBundle(t), pipeline.TestOptions{Host: p.Node.Name, Dir: p.Dir, NoRecord: true, Read: p.readNamed})
	other := works(t, report.Steps)
	for _, s := range report.Steps {
		switch {
		case s.OK:
		case ctx.Err() != nil && unsure(&s):
			r.notMade("target %q was not tested to the end", t.Name)
		default:
			f := p.failedStep(t, &s)
			f.probed = other == "" // else what the daemon says is of another address
			if other != "" {
				f = f.at(Warning)
				f.Why = "Records go to " + other + "; if that fails as well, they stay at their sources."
			}
			r.add(f)
		}
	}
}

// works is the first of a target's several addresses all of whose steps went well, "" if there is none.
func works(t *config.Target, steps []sinks.Step) string {
	if t.Rsyslog == nil || len(t.Rsyslog.Addresses) < 2 {
		return ""
	}
	for _, a := range t.Rsyslog.Addresses {
		n, failed := 0, false
		for _, s := range steps {
			if strings.HasPrefix(s.Message, a+": ") {
				n, failed = n+1, failed || !s.OK
			}
		}
		if n > 0 && !failed {
			return a
		}
	}
	return ""
}

// unsure reports whether a step may have failed only because doctor's own time was over: what a
// server, or the kernel, answers does not come of that, nor does a silence that lasted.
func unsure(s *sinks.Step) bool {
	switch s.Cause {
	case "", sinks.CauseName, sinks.CauseUnreachable:
		return s.Seconds < silence.Seconds()
	}
	return false
}

// hasty is the target with a timeout that suits somebody who waits.
func hasty(t *config.Target) *config.Target {
	out, most := *t, config.Duration(stepTimeout)
	switch {
	case t.Loki != nil && t.Loki.Timeout > most:
		l := *t.Loki
		l.Timeout, out.Loki = most, &l
	case t.Rsyslog != nil && t.Rsyslog.Timeout > most:
		s := *t.Rsyslog
		s.Timeout, out.Rsyslog = most, &s
	}
	return &out
}

// failedStep makes a finding of a step of a target's test.
func (p *patient) failedStep(t *config.Target, s *sinks.Step) Finding {
	id := map[string]string{
		sinks.CauseName: "target-dns", sinks.CauseRefused: "target-refused", sinks.CauseUnreachable: "target-unreachable",
		sinks.CauseExpired: "target-tls-expired", sinks.CauseNotYet: "target-tls-not-yet-valid", sinks.CauseAuthority: "target-tls-ca",
		sinks.CauseServerName: "target-tls-name", sinks.CauseFingerprint: "target-tls-fingerprint", sinks.CauseHandshake: "target-tls-client",
		sinks.CauseAuth: "target-auth", sinks.CauseLimited: "target-rate-limited", sinks.CauseNotLoki: "target-not-loki",
	}[s.Cause]
	switch {
	case id != "":
	case s.Name == sinks.StepConfig:
		id = "target-invalid"
	case s.Name == sinks.StepTLS:
		id = "target-tls"
	case s.Name == sinks.StepTCP:
		id = "target-unreachable"
	default:
		id = "target-failing"
	}
	return p.targetFinding(id, t, s.Message)
}

// targetFinding is a finding of a target, with what mends it.
func (p *patient) targetFinding(id string, t *config.Target, what string) Finding {
	f := found(id, fmt.Sprintf("target %q", t.Name), what)
	host, port := address(t, what)
	hp := quoted(net.JoinHostPort(host, port))
	correct := func(say string) Remedy { return p.edit(say, config.KindTarget, t.Name) }
	switch id {
	case "target-dns":
		return with(f, run("See what this machine finds.", "getent hosts %s; cat /etc/resolv.conf", quoted(host)), correct("Correct the name in the target, if it is wrong."))
	case "target-refused":
		return with(f, run("On that host: see whether it listens.", "ss -ltnp 'sport = :%s'", port), correct("Correct the port in the target, if it is wrong."))
	case "target-unreachable":
		return with(f, run("See where the way ends.", "tracepath -n %s", quoted(host)), run("On that host: see whether a firewall drops it.", "nft list ruleset | grep -n %s", port))
	case "target-tls-expired", "target-tls-not-yet-valid":
		return with(f, run("On the server: put a new certificate in place, and have it be read; then see the dates of all that it shows from here.", "timeout 10 openssl s_client -connect %s -showcerts </dev/null | grep -E ' s:|NotAfter'", hp))
	case "target-tls-ca":
		return with(f, run("See who has issued it.", "timeout 10 openssl s_client -connect %s -showcerts </dev/null | openssl x509 -noout -issuer -fingerprint -sha256", hp),
			correct(fmt.Sprintf("If that is the right server: put that authority's certificate into %s.", bundleField(t))))
	case "target-tls-name":
		return with(f, run("See for whom it is.", "timeout 10 openssl s_client -connect %s </dev/null | openssl x509 -noout -ext subjectAltName", hp),
			correct("If that is the right server: connect by that name, or give it as serverName."))
	case "target-tls-fingerprint":
		return with(f, run("See which it has.", "timeout 10 openssl s_client -connect %s </dev/null | openssl x509 -noout -fingerprint -sha256", hp), correct("If that is the right server: give it in fingerprints."))
	case "target-tls-client":
		return with(f, correct(fmt.Sprintf("Give %s a certificate and key (certFile, keyFile) of an authority that the server trusts, with a name that it permits.", bundleField(t))),
			run("On the server: see why it refuses.", "journalctl -e -u rsyslog"))
	case "target-tls":
		return with(f, run("See whether it speaks TLS.", "timeout 10 openssl s_client -connect %s </dev/null", hp))
	case "target-auth":
		return with(f, correct("Correct basicAuth, bearerToken or tenantId of the target; a passwordFile or bearerTokenFile is read again when it changes."))
	case "target-rate-limited":
		if strings.Contains(what, "stream limit") {
			return with(f, say("On the Loki server: raise max_global_streams_per_user of the tenant in limits_config (or its overrides), and have it reload."),
				correct("Or have fewer streams: leave what differs most, such as identifier, out of streamLabels of the target."))
		}
		return with(f, say("On the Loki server: raise ingestion_rate_mb, ingestion_burst_size_mb and per_stream_rate_limit of the tenant in limits_config (or its overrides), and have it reload."),
			correct("Or send less: minLevel on the sources that are loudest (lbshipd status has the rates)."))
	case "target-not-loki":
		return with(f, correct("Correct the URL of the target: http://HOST:3100 for a Loki without a proxy."))
	case "target-invalid":
		return with(f, correct("Correct the target."))
	}
	return with(f, run("Test it, with one marked record.", "lbshipd test target %s", quoted(t.Name)))
}

// edit is the command that changes an object. The commands of lbshipd change a file only where the
// daemon may write it, which its unit does not let it.
func (p *patient) edit(say string, kind config.Kind, name string) Remedy {
	if p.Config != "" {
		return run(say, "${EDITOR:-vi} %s", quoted(p.Config))
	}
	return run(say, "lbshipd edit %s %s", kind, quoted(name))
}

func bundleField(t *config.Target) string {
	if name := t.BundleName(); name != "" {
		return fmt.Sprintf("the TLS bundle %q", name)
	}
	return "a TLS bundle (tlsBundle) of the target"
}

// address is the host and port that a message is about.
func address(t *config.Target, message string) (host, port string) {
	if t.Loki != nil {
		u, err := url.Parse(t.Loki.URL)
		if err != nil {
			return t.Loki.URL, ""
		}
		port = u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
		}
		return u.Hostname(), port
	}
	if t.Rsyslog == nil {
		return "", ""
	}
	at := t.Rsyslog.Address
	for _, a := range t.Rsyslog.Addresses {
		if at == "" || strings.HasPrefix(message, a+": ") {
			at = a
		}
	}
	host, port, _ = net.SplitHostPort(at)
	return host, port
}
