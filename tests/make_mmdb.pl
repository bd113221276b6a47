#!/usr/bin/perl
# Makes a small MMDB for tests, the demonstration and the benchmark.
#
#   usage: make_mmdb.pl [--flat] [--registered] [--asn] [--ipinfo] [--v4] [--built SECONDS] OUT.mmdb [LIST]
#
# LIST (or standard input) has lines "network CC [ASN [owner...]]", e.g. "45.154.0.0/16 NL 64500 Example
# Networks"; '#' begins a comment. The layout is that of GeoLite2-Country, and DB-IP's; --registered gives
# entries a registered_country only; --flat writes the country_code of ip-location-db; --ipinfo IPinfo's
# country_code, country (its name), asn ("AS64500") and as_name, all as texts; --asn an ASN database
# without countries: GeoLite2's, DB-IP's and ip-location-db's autonomous_system_number and _organization.
# --v4 makes a tree for IPv4 only; --built says another time than now. Needs Debian's
# libmaxmind-db-writer-perl.
use strict;
use warnings;

use Getopt::Long;
use MaxMind::DB::Writer::Tree;

my $usage = "usage: make_mmdb.pl [--flat] [--registered] [--asn] [--ipinfo] [--v4] [--built SECONDS]"
    . " OUT.mmdb [LIST]\n";
my ($flat, $registered, $asn, $ipinfo, $v4, $built);
GetOptions('flat' => \$flat, 'registered' => \$registered, 'asn' => \$asn, 'ipinfo' => \$ipinfo,
    'v4' => \$v4, 'built=i' => \$built) && @ARGV >= 1 && @ARGV <= 2
    or die $usage;
my $out = shift;

my %types = (
    country            => $ipinfo ? 'utf8_string' : 'map',
    registered_country => 'map',
    country_code       => 'utf8_string',
    iso_code           => 'utf8_string',
    names              => 'map',
    en                 => 'utf8_string',
    asn                => 'utf8_string',
    as_name            => 'utf8_string',
    autonomous_system_number       => 'uint32',
    autonomous_system_organization => 'utf8_string',
);

my $tree = MaxMind::DB::Writer::Tree->new(
    database_type => $asn ? 'GeoLite2-ASN' : $ipinfo ? 'ipinfo lite' : $flat ? 'banmesh-test-flat' : 'GeoLite2-Country',
    description              => { en => 'made by make_mmdb.pl, for tests only' },
    languages                => ['en'],
    ip_version               => $v4 ? 4 : 6,
    record_size              => 24,
    alias_ipv6_to_ipv4       => $v4 ? 0 : 1,
    remove_reserved_networks => 0,
    map_key_type_callback    => sub { $types{ $_[0] } },
);

while (my $line = <>) {
    $line =~ s/#.*//;
    next if $line !~ /\S/;
    my ($network, $code, $number, $owner) = $line =~ m{^\s*(\S+/\d+)\s+(\S+)(?:\s+(\d+))?(?:\s+(\S.*?))?\s*$}
        or die "line $.: expected \"network/prefix CC [ASN [owner]]\"\n";
    my $country = { iso_code => $code, names => { en => $code } };
    my %as = (
        defined $number ? (autonomous_system_number       => $number) : (),
        autonomous_system_organization => defined $number ? $owner // '' : $code,
    );
    my %flat_as = defined $number ? (asn => "AS$number", as_name => $owner // '') : ();
    $tree->insert_network(
        $network,
          $asn        ? \%as
        : $ipinfo     ? { country_code       => $code, country => "Land $code", %flat_as }
        : $flat       ? { country_code       => $code }
        : $registered ? { registered_country => $country }
        :               { country => $country, registered_country => $country }
    );
}
$tree->_set_build_epoch($built) if defined $built;

# Written beside it and renamed, so that nobody ever reads half of it.
open my $file, '>:raw', "$out.new" or die "$out.new: $!\n";
$tree->write_tree($file);
close $file or die "$out.new: $!\n";
rename "$out.new", $out or die "$out: $!\n";
