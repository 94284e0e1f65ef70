"""Imitates the pipeline from before statuses as far as a takeover can tell, with its deliveries.

It only appends: order lines by `uniq_id`, missing rows of dimensions, and the sales of a day each
time that it builds the day.
"""

import hashlib
import random
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from support import Warehouse, order

SCHEMA = Path(__file__).with_name("old_schema.sql").read_text()
FIRST, LAST = date(2024, 1, 29), date(2024, 2, 11)
DAYS = [FIRST + timedelta(days=number) for number in range((LAST - FIRST).days + 1)]
ITEMS = {1: ("Кефир 1%", 90), 2: ("Молоко 1%", 100), 3: ("Сыр", 450), 4: ("Хлеб", 45)}
CITIES = {1: "Казань", 2: "Ярославль", 3: "Москва"}
CUSTOMERS = 40


def orders_of(day: date, seed: str = "old", lines: int = 30) -> list[dict[str, Any]]:
    """Return the order lines of a day in the report of this seed; some are equal in all values."""
    generator = random.Random(f"{seed} {day}")
    made = []
    for number in range(lines):
        item_id = generator.choice(list(ITEMS))
        customer_id = generator.randint(1, CUSTOMERS)
        quantity = generator.randint(1, 3)
        values = {
            "city_id": customer_id % 3 + 1,
            "city_name": CITIES[customer_id % 3 + 1],
            "customer_id": customer_id,
            "first_name": f"Имя {customer_id}",
            "last_name": f"Фамилия {customer_id}",
            "item_id": item_id,
            "item_name": ITEMS[item_id][0],
            "quantity": quantity,
            "payment_amount": quantity * ITEMS[item_id][1],
        }
        for copy in range(2 if number % 10 == 0 else 1):
            uniq_id = hashlib.md5(f"{seed} {day} {number} {copy}".encode()).hexdigest()
            made.append(order(uniq_id, str(day), **values))
    return made


def with_refunds(orders: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [
        {**line, "status": "refunded" if number % 5 == 0 else "shipped"}
        for number, line in enumerate(orders)
    ]


def create(warehouse: Warehouse, calendar: Sequence[tuple[Any, ...]]) -> None:
    """Create the old tables, and a calendar of some years."""
    warehouse.query(SCHEMA)
    # A running autovacuum belongs to a superuser, so a test could not end it to drop its database.
    for table in ("staging.user_order_log", "mart.f_sales", "mart.d_calendar"):
        warehouse.query(f"alter table {table} set (autovacuum_enabled = off)")
    row = "(" + ", ".join(["%s"] * 29) + ")"
    with warehouse.connect() as connection, connection.cursor() as cursor:
        values = b",".join(cursor.mogrify(row, day) for day in calendar)
        cursor.execute(b"insert into mart.d_calendar values " + values)
    connection.close()


def load_day(warehouse: Warehouse, day: date, orders: Sequence[Mapping[str, Any]]) -> None:
    """Land a day's file and build its sales."""
    columns = list(orders[0])
    names, row = ", ".join(columns), "(" + ", ".join(["%s"] * len(columns)) + ")"
    with warehouse.connect() as connection, connection.cursor() as cursor:
        values = b",".join(cursor.mogrify(row, [line[name] for name in columns]) for line in orders)
        cursor.execute(
            f"insert into staging.user_order_log ({names}) values ".encode()
            + values
            + b" on conflict (uniq_id) do nothing"
        )
    connection.close()
    build_day(warehouse, day, SALES_AND_REFUNDS if "status" in columns else SALES)


def build_day(warehouse: Warehouse, day: date, sales: str = "") -> None:
    """Append missing rows of dimensions, and the sales of a day even if they are there."""
    warehouse.query(DIMENSIONS + (sales or SALES), {"day": day})


DIMENSIONS = """
    insert into mart.d_item (item_id, item_name)
    select distinct item_id, item_name from staging.user_order_log
    where item_id not in (select item_id from mart.d_item);

    insert into mart.d_city (city_id, city_name)
    select distinct city_id, city_name from staging.user_order_log
    where city_id not in (select city_id from mart.d_city);

    insert into mart.d_customer (customer_id, first_name, last_name, city_id)
    select distinct on (customer_id) customer_id, first_name, last_name, city_id
    from staging.user_order_log
    where customer_id not in (select customer_id from mart.d_customer);
"""
SALES = """
    insert into mart.f_sales (date_id, item_id, customer_id, city_id, quantity, payment_amount)
    select date_id, item_id, customer_id, city_id, quantity, payment_amount
    from staging.user_order_log inner join mart.d_calendar on date_actual = date_time::date
    where date_time::date = %(day)s
"""
# As in the last scripts.
SALES_AND_REFUNDS = """
    insert into mart.f_sales
        (date_id, item_id, customer_id, city_id, quantity, payment_amount, refund_flag)
    select
        date_id, item_id, customer_id, city_id,
        case when status = 'refunded' then -quantity else quantity end,
        case when status = 'refunded' then -payment_amount else payment_amount end,
        status = 'refunded'
    from staging.user_order_log inner join mart.d_calendar on date_actual = date_time::date
    where date_time::date = %(day)s
"""

# Queries of shops, by name.
QUERIES = {
    "revenue by day": """
        select date_actual, sum(payment_amount) from mart.f_sales
        inner join mart.d_calendar using (date_id) group by 1 order by 1
    """,
    "revenue by item": """
        select item_name, sum(payment_amount), sum(quantity) from mart.f_sales
        inner join mart.d_item using (item_id) group by 1 order by 1
    """,
    "revenue by city": """
        select city_name, sum(s.payment_amount) from mart.f_sales as s
        inner join mart.d_city as c on c.city_id = s.city_id group by 1 order by 1
    """,
    "revenue by customer": """
        select c.last_name, c.first_name, sum(payment_amount) from mart.f_sales as s
        left join mart.d_customer as c on c.customer_id = s.customer_id group by 1, 2 order by 1, 2
    """,
    "number of orders": "select count(*) from mart.f_sales",
    "orders by weekday": """
        select day_name, weekend_indr, count(f.id) from mart.f_sales as f, mart.d_calendar as d
        where f.date_id = d.date_id group by 1, 2 order by 1
    """,
    "all four dimensions": """
        select date_actual, item_name, city_name, first_name, last_name, quantity, payment_amount
        from mart.f_sales as f
        inner join mart.d_calendar as d on d.date_id = f.date_id
        inner join mart.d_item as i on i.item_id = f.item_id
        inner join mart.d_city as t on t.city_id = f.city_id
        inner join mart.d_customer as c on c.customer_id = f.customer_id
        order by 1, 2, 3, 4, 5, 6, 7
    """,
    "revenue by week": """
        select year_actual, week_of_year, avg(payment_amount)::numeric(12, 4)
        from mart.f_sales join mart.d_calendar using (date_id) group by 1, 2 order by 1, 2
    """,
    "customers by month": """
        select month_name, count(distinct customer_id) from mart.f_sales
        natural join mart.d_calendar group by 1 order by 1
    """,
    "best item of a day": """
        select distinct on (date_id) date_id, item_id, sum(quantity) from mart.f_sales
        group by 1, 2 order by 1, 3 desc, 2
    """,
    "average basket by city": """
        select city_id, count(*), min(payment_amount), max(payment_amount), sum(quantity)
        from mart.f_sales group by 1 having count(*) > 1 order by 1
    """,
    "customers without sales": """
        select customer_id from mart.d_customer as c
        where not exists (select 1 from mart.f_sales as f where f.customer_id = c.customer_id)
        order by 1
    """,
    "order lines by item": """
        select item_name, count(uniq_id), sum(payment_amount)
        from staging.user_order_log group by 1 order by 1
    """,
    "home city of buyers": """
        select t.city_name, count(*) from mart.d_customer as c
        join mart.d_city as t on t.city_id = c.city_id group by 1 order by 1
    """,
}

# The changes of the old pipeline's last scripts, which servers have in any combination.
STATUS = "alter table staging.user_order_log add status varchar(30) not null default 'shipped'"
REFUND_FLAG = "alter table mart.f_sales add refund_flag boolean not null default false"
RETENTION = """
    create table mart.f_customer_retention (
        id serial4 primary key,
        new_customers_count int8 not null,
        returning_customers_count int8 not null,
        refunded_customer_count int8 not null,
        period_name varchar(20) not null,
        period_id varchar(20) not null,
        item_id int4 not null references mart.d_item (item_id),
        new_customers_revenue numeric(12, 2) not null,
        returning_customers_revenue numeric(12, 2) not null,
        customers_refunded numeric(12, 0) not null
    );
    create index f_cr2 on mart.f_customer_retention (item_id);
    create index f_cr3 on mart.f_customer_retention (period_id);
    create index f_cr4 on mart.f_customer_retention (period_name)
"""
REFUND_DAYS = [LAST + timedelta(days=1), LAST + timedelta(days=2)]


def run_last_scripts(warehouse: Warehouse) -> None:
    """Add statuses and the retention mart, load two days with refunds, and fill all weeks."""
    for script in (STATUS, REFUND_FLAG, RETENTION):
        warehouse.query(script)
    for day in REFUND_DAYS:
        load_day(warehouse, day, with_refunds(orders_of(day)))
    fill_weeks(warehouse)
    # Also rows that such a table collects over the years: weeks filled twice, weeks with the
    # calendar's number, weeks without sales.
    warehouse.query(
        """
        insert into mart.f_customer_retention
        select
            nextval('mart.f_customer_retention_id_seq'), 7, 7, 7, period_name, period_id, item_id,
            7, 7, 7
        from mart.f_customer_retention where period_id = '2024-W05';
        insert into mart.f_customer_retention
        values (default, 1, 1, 1, 'weekly', '2023-51', 1, 1, 1, 1),
            (default, 1, 1, 1, 'weekly', '2019-W03', 1, 1, 1, 1)
        """
    )


def fill_weeks(warehouse: Warehouse) -> None:
    """Fill the retention mart with the old queries, which count one order too few as new."""
    warehouse.query(
        """
        insert into mart.f_customer_retention (
            new_customers_count, returning_customers_count, refunded_customer_count, period_name,
            period_id, item_id, new_customers_revenue, returning_customers_revenue,
            customers_refunded
        )
        select
            count(*) filter (where orders = 1), count(*) filter (where orders > 1),
            count(*) filter (where refunds > 0), 'weekly', period_id, item_id,
            coalesce(sum(amount) filter (where orders = 1), 0),
            coalesce(sum(amount) filter (where orders > 1), 0), sum(refunds)
        from (
            select left(week_of_year_iso, 8) as period_id, item_id, customer_id,
                count(*) as orders, sum(payment_amount) as amount,
                count(*) filter (where refund_flag) as refunds
            from mart.f_sales inner join mart.d_calendar using (date_id) group by 1, 2, 3
        ) as customers
        group by period_id, item_id
        """
    )
