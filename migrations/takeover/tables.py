"""The tables of a warehouse, the common columns of old and new ones, and the takeover's marks."""

from collections.abc import Mapping

from loaders.order_file import NAME_LENGTH

ORDERS, SALES, CALENDAR = "staging.user_order_log", "mart.f_sales", "mart.d_calendar"
ITEM, CITY, CUSTOMER = "mart.d_item", "mart.d_city", "mart.d_customer"
RETENTION = "mart.f_customer_retention"
# Marts that are built from SALES and the ledger; no old pipeline has them.
OTHER_MARTS = (
    "mart.f_shop_retention",
    "mart.f_customer_cohort",
    "mart.f_item_cohort",
    "mart.f_delivery_day",
)
# The old rows of the retention mart, if the old pipeline had one.
OLD_RETENTION = "mart.f_customer_retention_old"

# Marks the ledger's entries for order lines from before it.
REPORT_ID = "old warehouse"
# Followed by the sale's id, the key of a sale that has no order line in staging. The dbt macro
# sales_of_staging knows this text, too.
NO_ORDER_LINE = "mart.f_sales.id="
# Part of the comment on a column that the takeover has found: the way back leaves that column.
OF_OLD = "Made by the old pipeline; the way back from a takeover leaves it."

# Columns that an old warehouse and a new one have in common; varchar of any length.
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
# Columns that the takeover adds: the type, and whether it is not null from the start. The old
# pipeline's last scripts have added some of them to many warehouses.
ADDED = (
    (SALES, "refund_flag", "boolean", True),
    (SALES, "uniq_id", "character varying", False),
    (ORDERS, "status", "character varying", True),
)
# The retention mart as those scripts made it; a type may also be a smaller one of its kind.
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
# Primary or unique keys, then foreign keys with the tables that they refer to.
KEYS = ((CALENDAR, "date_id"), (ITEM, "item_id"), (CITY, "city_id"), (CUSTOMER, "customer_id"))
REFERENCES = (
    (SALES, "date_id", CALENDAR),
    (SALES, "item_id", ITEM),
    (SALES, "customer_id", CUSTOMER),
)
# Texts and their greatest length.
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
