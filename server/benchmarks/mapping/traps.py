"""Traps: pairs of names that differ in the one word that counts, each in three situations. Made by hand.

A line has two names, and both in another spelling. In `EXCLUDING` a name has a word that excludes the other's, so
that neither may ever be read as the other. In `MORE` the second lacks a word, or may mean the same: it is at most a
likely guess, and none if the right column is there.
"""

from collections.abc import Iterator, Mapping

from attrs import frozen

from lume_local._mapping.evidence import Side
from lume_local._mapping.profile import facts_of
from server.benchmarks.mapping.cases import Case

EXCLUDING = """
valid_from | valid_to | gueltig_ab | gueltig_bis
from_date | to_date | FromDate | ToDate
start_date | end_date | date_debut | date_fin
start_time | end_time | Beginn Uhrzeit | Ende Uhrzeit
period_start | period_end | Period from | Period until
begin_balance | end_balance | starting balance | ending balance
datum_von | datum_bis | Datum (von) | Datum (bis)
vertragsbeginn | vertragsende | contract_start | contract_end
valide_du | valide_au | valid_from | valid_until
fecha_inicio | fecha_fin | begin_date | end_date
fecha_desde | fecha_hasta | start_date | end_date
data_inicio | data_fim | start_date | end_date
periodo_desde | periodo_ate | period_from | period_to
fecha_alta | fecha_baja | created_date | deleted_date
check_in | check_out | CheckIn | CheckOut
opt_in | opt_out | OptIn | OptOut
bytes_in | bytes_out | inbound bytes | outbound bytes
min_temperature | max_temperature | temp_minimum | temp_maximum
min_price | max_price | prix_minimum | prix_maximum
avg_price | max_price | Durchschnittspreis | Maximalpreis
mean_salary | min_salary | average_salary | minimum_salary
sum_amount | avg_amount | SumAmount | AverageAmount
mindestmenge | maximalmenge | minimum_quantity | maximum_quantity
precio_minimo | precio_maximo | min_price | max_price
preco_medio | preco_maximo | average_price | max_price
first_name | last_name | Vorname | Nachname
first_order_date | last_order_date | FirstOrderDate | LastOrderDate
prenom | nom_famille | first_name | family_name
old_price | new_price | Preis alt | Preis neu
previous_value | new_value | PreviousValue | NewValue
previous_status | current_status | vorheriger Status | aktueller Status
ancien_prix | nouveau_prix | old_price | new_price
precio_anterior | precio_nuevo | old_price | new_price
preco_antigo | preco_novo | old_price | new_price
is_active | is_inactive | aktiv | inaktiv
active | not_active | Active | NotActive
is_active | is_disabled | enabled | disabled
is_paid | is_unpaid | bezahlt | unbezahlt
is_valid | is_invalid | gueltig | ungueltig
complete | incomplete | vollstaendig | unvollstaendig
is_member | non_member | member | NonMember
renewable | nonrenewable | Renewable | non-renewable
activated_at | deactivated_at | ActivatedAt | DeactivatedAt
subscribed | unsubscribed | Subscribed | Unsubscribed
actif | inactif | active | inactive
active | desactive | Active | Désactivé
paye | impaye | paid | unpaid
activo | inactivo | active | inactive
pagado | no_pagado | paid | not_paid
ativo | inativo | active | inactive
pago | nao_pago | paid | not paid
zustellbar | nicht_zustellbar | Zustellbar | Nicht zustellbar
consent | no_consent | Consent | No consent
mit_steuer | ohne_steuer | with_tax | without_tax
avec_taxe | sans_taxe | with_tax | without_tax
con_iva | sin_iva | with_vat | without_vat
com_imposto | sem_imposto | with_tax | without_tax
tax_included | tax_excluded | incl. Steuer | exkl. Steuer
gross_amount | net_amount | Bruttobetrag | Nettobetrag
betrag_brutto | betrag_netto | Brutto-Betrag | Netto-Betrag
gross_weight | net_weight | Bruttogewicht | Nettogewicht
montant_brut | montant_net | gross_amount | net_amount
importe_bruto | importe_neto | gross_amount | net_amount
valor_bruto | valor_liquido | gross_amount | net_amount
debit_amount | credit_amount | Soll-Betrag | Haben-Betrag
debit | credit | Soll | Haben
montant_debit | montant_credit | débit | crédit
debito | credito | debit | credit
planned_date | actual_date | Plandatum | Istdatum
planned_cost | actual_cost | Plankosten | Istkosten
soll_menge | ist_menge | planned_quantity | actual_quantity
quantite_prevue | quantite_reelle | planned_quantity | actual_quantity
fecha_prevista | fecha_real | planned_date | actual_date
data_prevista | data_real | planned_date | actual_date
billing_city | shipping_city | BillingCity | ShippingCity
bill_to_name | ship_to_name | billing_name | shipping_name
rechnungsadresse | lieferadresse | invoice_address | delivery_address
adresse_facturation | adresse_livraison | billing_address | delivery_address
direccion_facturacion | direccion_entrega | billing_address | delivery_address
endereco_cobranca | endereco_entrega | billing_address | delivery_address
created_at | updated_at | CreatedDate | LastModifiedDate
created_at | deleted_at | erstellt am | geloescht am
angelegt_am | geaendert_am | created_at | changed_at
date_creation | date_modification | created_date | updated_date
fecha_creacion | fecha_modificacion | created_date | modified_date
data_criacao | data_atualizacao | created_date | updated_date
created_by | created_at | CreatedBy | CreatedAt
parent_id | child_id | ParentId | ChildId
id_padre | id_hijo | parent_id | child_id
source_id | target_id | SourceId | TargetId
source_account | destination_account | Quellkonto | Zielkonto
compte_source | compte_destination | source_account | target_account
sender_name | receiver_name | Absender Name | Empfaenger Name
expediteur | destinataire | sender | recipient
remitente | destinatario | sender | recipient
buyer_id | seller_id | BuyerId | SellerId
customer_name | supplier_name | Kundenname | Lieferantenname
home_phone | work_phone | Telefon privat | Telefon geschaeftlich
telefono_casa | telefono_trabajo | home_phone | work_phone
purchase_price | sales_price | Einkaufspreis | Verkaufspreis
hire_date | termination_date | Eintrittsdatum | Austrittsdatum
arrival_time | departure_time | Ankunftszeit | Abfahrtszeit
latitude | longitude | lat | lon
open_date | close_date | opening_date | closing_date
internal_id | external_id | InternalId | ExternalId
import_date | export_date | Importdatum | Exportdatum
temp_c | temp_f | Temperature (°C) | Temperature (°F)
max_temp_c | max_temp_f | MaxTempC | MaxTempF
temp_celsius | temp_fahrenheit | temperatura_c | temperatura_f
duration_ms | duration_s | DurationMs | DurationSec
duration_min | duration_h | Dauer (min) | Dauer (h)
elapsed_seconds | elapsed_minutes | elapsed_sec | elapsed_min
timeout_ms | timeout_seconds | TimeoutMs | TimeoutSeconds
age_years | age_months | AgeYears | AgeMonths
height_cm | height_in | Height (cm) | Height (in)
length_m | length_ft | Laenge (m) | Laenge (ft)
width_mm | width_cm | Breite [mm] | Breite [cm]
weight_kg | weight_lb | Gewicht (kg) | Gewicht (lb)
weight_g | weight_kg | Gewicht in g | Gewicht in kg
distance_km | distance_mi | Distance (km) | Distance (miles)
poids_kg | poids_lb | weight_kg | weight_lb
amount_cents | amount_usd | Amount (ct) | Amount ($)
price_usd | price_eur | Preis USD | Preis EUR
price_eur | price_gbp | Price (€) | Price (£)
precio_usd | precio_mxn | price_usd | price_mxn
discount_pct | discount_ratio | Discount % | discount ratio
energy_kwh | energy_mwh | Energy (kWh) | Energy (MWh)
size_kb | size_mb | SizeKB | SizeMB
user_id | username | UserId | UserName
user_email | user_id | UserEmail | UserId
customer_id | customer_name | Kunden-Nr. | Kundenname
country_code | country_name | Laendercode | Laendername
product_code | product_name | Produktcode | Produktname
codigo_producto | nombre_producto | product_code | product_name
account_number | account_name | Kontonummer | Kontoname
contact_phone | contact_email | Kontakt Telefon | Kontakt E-Mail
phone_number | fax_number | Telefonnummer | Faxnummer
id_cliente | nombre_cliente | customer_id | customer_name
code_produit | nom_produit | product_code | product_name
"""

MORE = """
amount_cents | amount | Betrag (ct) | Betrag
price_usd | price | Preis USD | Preis
net_amount | amount | Nettobetrag | Betrag
gross_weight | weight | Bruttogewicht | Gewicht
max_price | price | Hoechstpreis | Preis
avg_amount | amount | Durchschnittsbetrag | Betrag
first_name | name | Vorname | Name
previous_status | status | vorheriger Status | Status
planned_quantity | quantity | Planmenge | Menge
billing_street | street | BillingStreet | Street
parent_id | id | ParentId | Id
source_account | account | Quellkonto | Konto
work_phone | phone | Telefon geschaeftlich | Telefon
start_date | date | Startdatum | Datum
updated_date | date | UpdatedDate | Date
duration_ms | duration | Dauer (ms) | Dauer
weight_kg | weight | Gewicht (kg) | Gewicht
height_in | height | Height (in) | Height
temp_c | temp | Temperature (°C) | Temperature
distance_km | distance | Distance (km) | Distance
discount_pct | discount | Rabatt % | Rabatt
montant_net | montant | net_amount | amount
precio_maximo | precio | max_price | price
valor_liquido | valor | net_amount | amount
order_id | order_number | OrderId | Order Number
user_id | user_uuid | UserId | UserGUID
product_code | product_number | Produktcode | Produktnummer
invoice_id | id | InvoiceId | Id
project_id | id | ProjectId | Id
customer_name | name | Kundenname | Name
birth_date | date | Geburtsdatum | Datum
"""

_CITIES = facts_of(["Ulm", "Bonn", "Berlin", "Kiel"] * 5)
_SAME = facts_of([str(n * n % 37) for n in range(20)])
_NONE = facts_of([])


@frozen
class Trap:
    """Two names that are easily taken for each other, and both in another spelling."""

    wanted: str
    other: str
    spelled: str
    other_spelled: str
    excludes: bool

    def alone(self) -> Iterator[Case]:
        """Yield the cases in which only the wrong column is there, once with equal values on both sides."""
        turned = [(self.wanted, self.other), (self.other, self.wanted)]
        for target, source in turned if self.excludes else turned[:1]:
            for alike in (False, True):
                yield _case("trap: only the other is there", {target: None}, [source], alike)

    def own(self) -> Iterator[Case]:
        """Yield the cases in which both have their own names."""
        for alike in (False, True):
            both = {self.other: self.other, self.wanted: self.wanted}
            yield _case("trap: both are there", both, [self.wanted, self.other], alike)

    def respelled(self) -> Iterator[Case]:
        """Yield the cases in which both are there in another spelling."""
        both = {self.other: self.other_spelled, self.wanted: self.spelled}
        yield _case("trap: both in another spelling", both, [self.spelled, self.other_spelled], False)


def traps() -> Iterator[Trap]:
    for text, excludes in ((EXCLUDING, True), (MORE, False)):
        for line in text.strip().splitlines():
            wanted, other, spelled, other_spelled = map(str.strip, line.split("|"))
            yield Trap(wanted, other, spelled, other_spelled, excludes)


def _case(kind: str, truth: Mapping[str, str | None], sources: list[str], alike: bool) -> Case:
    """A column `city` is on both sides, and the order of the others is not the same."""
    facts = [_SAME if alike else _NONE] * len(sources)
    target = Side("project_statistics", [*truth, "city"], [None] * (len(truth) + 1), [*facts, _CITIES])
    source = Side("export", ["city", *sources], [None] * (len(sources) + 1), [_CITIES, *facts])
    return Case(kind, 1, "traps", target, source, {**truth, "city": "city"})
