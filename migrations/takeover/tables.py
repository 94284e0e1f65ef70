"""The tables of a warehouse, what those of an old and a new one have in common, and its marks."""

from collections.abc import Mapping

from loaders.order_file import NAME_LENGTH

ORDERS, SALES, CALENDAR = "staging.user_order_log", "mart.f_sales", "mart.d_calendar"
ITEM, CITY, CUSTOMER = "mart.d_item", "mart.d_city", "mart.d_customer"
RETENTION = "mart.f_customer_retention"
# Built from SALES and the ledger; no old pipeline has them.
OTHER_MARTS = (
    "mart.f_shop_retention",
    "mart.f_customer_cohort",
    "mart.f_item_cohort",
    "mart.f_delivery_day",
)
# What the retention mart held before, where the old pipeline had one.
OLD_RETENTION = "mart.f_customer_retention_old"

# In the ledger, for every order line from before it. dbt's macro for sales of old knows the other.
REPORT_ID = "old warehouse"
# With the sale's id behind it the key of a sale that has no order line in staging.
NO_ORDER_LINE = "mart.f_sales.id="
# Part of the comment on a column of ours that was there before: only then the way back leaves it.
OF_OLD = "Made by the old pipeline; the way back from a takeover leaves it."

# What an old warehouse and a new one have in common; varchar of whatever length.
COLUMNS: Mapping[str, Mapping[str, str]] = {
    ORDERS: {
        "uniq_id": "character varying",
        "date_time": "timestamp without time zone",
        "city_id": "integer",
        "city_name": "character varying",
        "customer_id": "integer",
        "first_name": "character varying",
        "last_name": "character varying",
        "item_id": "integer",
        "item_name": "character varying",
        "quantity": "bigint",
        "payment_amount": "numeric(10,2)",
    },
    CALENDAR: {"date_id": "integer", "date_actual": "date", "week_of_year_iso": "character(10)"},
    ITEM: {"item_id": "integer", "item_name": "character varying"},
    CITY: {"city_id": "integer", "city_name": "character varying"},
    CUSTOMER: {
        "customer_id": "integer",
        "first_name": "character varying",
        "last_name": "character varying",
        "city_id": "integer",
    },
    SALES: {
        "date_id": "integer",
        "item_id": "integer",
        "customer_id": "integer",
        "city_id": "integer",
        "quantity": "bigint",
        "payment_amount": "numeric(10,2)",
    },
}
# What the takeover adds: type, and whether it is not null from the first. The old pipeline's last
# scripts have added some of it to many.
ADDED = (
    (SALES, "refund_flag", "boolean", True),
    (SALES, "uniq_id", "character varying", False),
    (ORDERS, "status", "character varying", True),
)
# What those scripts made of the retention mart; a type may also be a smaller one of its kind.
RETENTION_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "new_customers_count": ("bigint", "integer", "smallint"),
    "returning_customers_count": ("bigint", "integer", "smallint"),
    "refunded_customer_count": ("bigint", "integer", "smallint"),
    "period_name": ("character varying",),
    "period_id": ("character varying",),
    "item_id": ("integer",),
    "new_customers_revenue": ("numeric(12,2)", "numeric(10,2)"),
    "returning_customers_revenue": ("numeric(12,2)", "numeric(10,2)"),
    "customers_refunded": ("numeric(12,0)", "bigint", "integer", "smallint"),
}
# Primary or unique, and then foreign keys with what they point to.
KEYS = ((CALENDAR, "date_id"), (ITEM, "item_id"), (CITY, "city_id"), (CUSTOMER, "customer_id"))
REFERENCES = (
    (SALES, "date_id", CALENDAR),
    (SALES, "item_id", ITEM),
    (SALES, "customer_id", CUSTOMER),
)
# Texts, and how long they may be.
TEXTS = (
    *(
        (ORDERS, name, NAME_LENGTH)
        for name in ("city_name", "first_name", "last_name", "item_name")
    ),
    (ORDERS, "uniq_id", 32),
    (ORDERS, "status", 30),
    (ITEM, "item_name", NAME_LENGTH),
    (CITY, "city_name", NAME_LENGTH),
    (CUSTOMER, "first_name", NAME_LENGTH),
    (CUSTOMER, "last_name", NAME_LENGTH),
)
