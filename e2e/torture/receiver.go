package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"syscall"
	"time"

	"github.com/lbshipd/lbshipd/internal/testbed"
)

// receiver is the command "torture receiver": a real rsyslog is killed in
// mid-stream again and again, with RELP and with TLS.
func receiver(args []string) error {
	flags := flag.NewFlagSet("receiver", flag.ContinueOnError)
	bin := flags.String("bin", "../bin/lbshipd", "the lbshipd that sends")
	times := flags.Int("n", 20, "how often rsyslog is killed")
	rate := flags.Int("rate", 20000, "lines per second")
	seed := flags.Uint64("seed", 1, "seed of the moments")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for _, protocol := range []string{"relp", "tls"} {
		err := guard(func(tb *bed) error { return receiverKilled(tb, protocol, *bin, *times, *rate, *seed) })
		if err != nil {
			return fmt.Errorf("%s: %w", protocol, err)
		}
	}
	return nil
}

func receiverKilled(tb *bed, protocol, bin string, times, rate int, seed uint64) error {
	m := newMeasured(tb, bin)
	ca := testbed.NewCA(tb, "receiver")
	// Direct: what rsyslog has accepted it writes at once, so that only what
	// it has not read can be lost.
	o := testbed.RsyslogOptions{Protocol: "relp", Direct: true}
	settings := "protocol: relp"
	if protocol == "tls" {
		o = testbed.RsyslogOptions{Protocol: "gtls", CA: ca, Cert: ca.Server(tb, "siem.test"), Direct: true}
		settings = "serverName: siem.test, tlsBundle: siem"
	}
	siem := testbed.StartRsyslog(tb, o)
	f := &flood{path: filepath.Join(m.dir, "logs", "app.log"), rate: rate, size: 160, every: 10 * rate}
	m.run(`
sources:
  - {name: app, file: {paths: [%q]}, logFormat: json, startAt: beginning}
targets:
  - {name: siem, rsyslog: {address: %q, %s}}
tlsBundles:
  - {name: siem, caFile: %q}
`, m.dir+"/logs/*.log", siem.Address, settings, ca.File(tb, m.dir, "ca"))
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan struct{})
	go func() { defer close(done); f.run(ctx) }()
	dice := rand.New(rand.NewPCG(seed, 0))
	for range times {
		had := siem.Count(tb)
		// It is killed while messages come in.
		await(30*time.Second, func() bool { return siem.Count(tb) > had })
		time.Sleep(time.Duration(dice.IntN(1500)) * time.Millisecond)
		siem.Kill()
		time.Sleep(time.Duration(dice.IntN(300)) * time.Millisecond)
		siem.Start(tb)
	}
	time.Sleep(time.Second)
	cancel()
	<-done
	if f.err != nil {
		return f.err
	}
	total := int(f.written.Load())
	var at *meter
	await(2*time.Minute, func() bool {
		at = metered(tb, siem)
		return at.last == total-1
	})
	missing := at.missing(total)
	fmt.Printf("rsyslog over %s, killed %d times at %d lines/s: %d lines, %d lost, %d came more than once; acknowledged and lost are %.3f per thousand\n",
		protocol, times, rate, total, len(missing), at.again, 1000*float64(len(missing))/float64(max(total, 1)))
	if protocol == "relp" && len(missing) > 0 {
		m.book.find("lost", "%d lines over RELP: %s", len(missing), runs(missing))
	}
	for _, wrong := range at.wrong {
		m.book.find("payload", "%s", wrong)
	}
	m.daemon.end(syscall.SIGTERM)
	m.daemon.faulted()
	return m.verdict()
}
